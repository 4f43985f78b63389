"""`data`: fetches, verifies and describes a data set."""

import sys

from absl import flags

from lgcn_jax.cli.command import DATA, Command, config_from_flags, say
from lgcn_jax.cli.flags import stated_settings
from lgcn_jax.data import datasets
from lgcn_jax.system.signals import StopRequest


def data(values: flags.FlagValues, request: StopRequest) -> int:
    """Prints the counts of a data set, which is fetched where it has to be."""
    from lgcn_jax.runs import display

    del request
    interactions = datasets.load(config_from_flags(stated_settings(values, DATA)).data, progress=sys.stderr.isatty())
    say(display.format_facts({"name": interactions.name} | interactions.summary()))
    for remark in interactions.remarks:
        say(remark)
    return 0


COMMAND = Command(data, "fetches, verifies and describes a data set", lambda: DATA)
