"""`report`: writes one page about a run."""

import sys

from absl import flags

from lgcn_jax.cli.command import PLUGIN, Command, say, with_absolute_paths, workdir_of
from lgcn_jax.cli.flags import stated_settings
from lgcn_jax.data import datasets
from lgcn_jax.data.settings import READING, DataSettings
from lgcn_jax.devices import mesh
from lgcn_jax.system.signals import StopRequest


def report(values: flags.FlagValues, request: StopRequest) -> int:
    """Writes the page, and says where."""
    from lgcn_jax.reporting import collect
    from lgcn_jax.reporting import report as page
    from lgcn_jax.runs import raw_ids

    del request
    mesh.require_devices()
    folder = workdir_of(values)
    config = collect.read_config(folder).replace(**with_absolute_paths(stated_settings(values, READING)))
    interactions = raw_ids.with_kept_titles(datasets.load(config.data, progress=sys.stderr.isatty()), folder)
    say(f"wrote {page.report(folder, interactions, values['out'].value or None)}")
    return 0


COMMAND = Command(
    report,
    "writes one self-contained page about a run",
    lambda: READING,
    {
        "workdir": ("", "the folder of the run"),
        "out": ("", "the file that is written (default: report.html in the run folder)"),
        **PLUGIN,
    },
    {"data": DataSettings},
)
