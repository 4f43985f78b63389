"""`compare`: what runs differ in, user by user and seed by seed."""

from absl import flags

from lgcn_jax.cli.command import PLUGIN, Command, named_as_flags, say
from lgcn_jax.cli.tables import format_groups
from lgcn_jax.devices import mesh
from lgcn_jax.system.signals import StopRequest


def compare(values: flags.FlagValues, request: StopRequest) -> int:
    """Prints a table of differences, and writes the files that are asked for."""
    from lgcn_jax.reporting import comparison

    del request
    mesh.require_devices()
    outs = [comparison.require_kind(out, f"--out={out}") for out in filter(None, values["out"].value.split(","))]
    named = [name.strip() for name in values["metrics"].value.split(",") if name.strip()]
    with named_as_flags(by=f"--by={values['by'].value}", metrics="--metrics", runs="compare"):
        by, metrics = values["by"].value or None, named or None
        found = comparison.compare(*values["runs"].value, by=by, metrics=metrics)
    say(f"{found.dataset}, {found.split} part; {found.protocol}")
    say(format_groups(found.columns()))
    for out in outs:
        found.save(out)
        say(f"wrote {out}")
    return 0


COMMAND = Command(
    compare,
    "compares finished runs with the first one, user by user: compare RUN RUN ...",
    own={
        "runs": ((), "folders of runs, separated by commas, in place of compare RUN RUN ..."),
        "by": ("", "seed: runs that differ in the seed alone are a group, compared seed by seed, too"),
        "metrics": ("", "such as recall@20, separated by commas (default: recall and ndcg at the first k)"),
        "out": ("", "files to write, separated by commas: .json, .svg, .png, .pdf"),
        **PLUGIN,
    },
    positional="runs",
)
