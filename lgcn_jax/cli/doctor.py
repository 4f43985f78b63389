"""`doctor`: shows what an installation can do."""

from absl import flags

from lgcn_jax.cli.command import Command, say
from lgcn_jax.devices import mesh
from lgcn_jax.system.signals import StopRequest


def doctor(values: flags.FlagValues, request: StopRequest) -> int:
    """Prints versions, devices and the chosen layout, and checks the installation in about ten seconds."""
    from lgcn_jax.cli import checks
    from lgcn_jax.runs import display

    del values, request
    mesh.require_devices()
    say(display.format_facts(checks.versions() | checks.describe_devices()))
    failed = 0
    for name, check in checks.CHECKS.items():
        passed, finding = check()
        say(f"{'ok    ' if passed else 'FAILED'}  {name}: {finding}")
        failed += not passed
    return 1 if failed else 0


COMMAND = Command(doctor, "shows versions, devices and layouts, and checks the installation")
