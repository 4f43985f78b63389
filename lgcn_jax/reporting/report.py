"""The front door: a run, or a fitted model, as one page in a file."""

import os
from pathlib import Path

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.reporting import collect, page
from lgcn_jax.serving import tables
from lgcn_jax.serving.models import Model
from lgcn_jax.system import files

NAME = "report.html"


def report(run: str | Path | Model, interactions: Interactions | None = None, out: str | Path | None = None) -> Path:
    """Writes one self-contained page about a run: quality, groups, a map, users' lists, curves, data and settings.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> model = lg.LightGCN(epochs=2, embedding_dim=8, top_k=(5,)).fit(interactions, quiet=True)
    >>> lg.report(model, interactions, out="model.html").name
    'model.html'

    Args:
      run: a run folder, or a fitted model.
      interactions: the data set; of a run folder None: it is loaded as the run's settings say.
      out: the file; None: report.html in the run folder.

    Returns:
      The file, which is written whole or not at all.

    Raises:
      InputError: there is no run and no trained model, its data cannot be had or are others, or `out` is no name of a
        page that can be written.
      WriteError: the disk does not take the file.
    """
    if isinstance(run, Model):
        if interactions is None or out is None:
            raise InputError("report", "a model alone", "report(model, interactions, out=FILE)")
        run._require_fitted()
        target, data = _output_path(out), collect.from_model(run, interactions)
    elif not isinstance(run, str | os.PathLike):
        raise InputError("report", f"a {type(run).__name__}", "a run folder, or a trained model")
    else:
        folder = Path(run).expanduser()
        target = folder / NAME if out is None else _output_path(out)
        data = collect.from_folder(folder, interactions)
    try:
        files.write(target, page.render(data).encode())
    except OSError as error:
        raise WriteError(target, error.strerror or error) from None
    return target


def _output_path(out: str | Path) -> Path:
    """The path of a page, which can be written."""
    path = Path(out).expanduser()
    tables.require_writable(path, "--out=", (".html", ".htm"))
    return path
