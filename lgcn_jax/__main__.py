"""`python -m lgcn_jax COMMAND --flag=value ...`, also installed as `lgcn-jax`."""

import signal

_early = []  # signals that came while the modules below were imported
for _name in ("SIGINT", "SIGTERM", "SIGHUP"):
    _number = getattr(signal, _name, None)
    if _number and (_name != "SIGHUP" or signal.getsignal(_number) is not signal.SIG_IGN):  # as nohup leaves it
        signal.signal(_number, lambda number, frame: _early.append(number))

import sys  # noqa: E402

from lgcn_jax.system import ending, signals  # noqa: E402


def run() -> None:
    """Exits with the status of the command. Signals are answered before anything else is imported."""
    request = signals.StopRequest(ends_process=True).__enter__()  # never left: until its end the process answers
    for number in _early:
        signal.raise_signal(number)
    from lgcn_jax.cli import main

    try:
        status = main.run(sys.argv[1:], request)
    except signals.Stopped:
        ending.exit_process(request.status, request.line)
    request.ignore()
    sys.exit(status)


if __name__ == "__main__":
    run()
