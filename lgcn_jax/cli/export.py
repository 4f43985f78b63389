"""`export`: final vectors with raw ids, for other programs."""

from pathlib import Path

from absl import flags

from lgcn_jax.cli import models
from lgcn_jax.cli.command import Command, named_as_flags, say
from lgcn_jax.config import RELOCATABLE
from lgcn_jax.errors import InputError
from lgcn_jax.serving import export as exports
from lgcn_jax.system.signals import StopRequest

SETTINGS = tuple(name for name in RELOCATABLE if name != "format")  # which is that of the files written here


def export(values: flags.FlagValues, request: StopRequest) -> int:
    """Writes the final vectors of a model into a folder."""
    del request
    path, format = values["out"].value, values["format"].value
    if not path:
        raise InputError("--out", "nothing", "a folder for the vectors")
    with named_as_flags(format="--format"):
        exports.require_format(format)
    exports.require_free(Path(path).expanduser(), "--out=")
    model = models.load_vectors(values, SETTINGS)
    model.export(path, format)
    counts = f"{len(model.users):,} users and {len(model.items):,} items"
    say(f"wrote {counts} to {path}; {path}/README.md says how to load them")
    return 0


COMMAND = Command(
    export,
    "writes final vectors with raw ids for other programs",
    lambda: SETTINGS,
    {
        **models.OWN,
        "format": ("npz", f"of the files: {', '.join(exports.FORMATS)} (default: npz); the last two are indexes"),
        "out": ("", "the folder for the files"),
    },
    texts=models.TEXTS,
)
