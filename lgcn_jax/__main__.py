"""`python -m lgcn_jax COMMAND --flag=value ...`, also installed as `lgcn-jax`."""

import sys

from lgcn_jax import ending, signals


def run() -> None:
    """Exits with the status of the command. Signals are answered before anything else is imported."""
    request = signals.StopRequest(ends_process=True).__enter__()  # never left: until its end the process answers
    from lgcn_jax import cli

    try:
        status = cli.run(sys.argv[1:], request)
    except signals.Stopped:
        ending.end(request.status, request.line)
    request.ignore()
    sys.exit(status)


if __name__ == "__main__":
    run()
