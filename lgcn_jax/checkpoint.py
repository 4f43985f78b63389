"""Orbax checkpoints of a run: one for the best epoch and one for the newest, saved in the background."""

from pathlib import Path

import jax
import orbax.checkpoint as ocp
from flax import nnx
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from lgcn_jax.errors import InputError
from lgcn_jax.training import TrainState

WHICH = ("best", "latest")


class Checkpoints:
    """The checkpoints under `folder`, numbered by epoch; a context manager that waits for saves on exit.

    Args:
      folder: made when missing, unless opened for reading.
      watched: the metric, higher is better, that says which checkpoint is the best.
      read_only: for those who only restore.
    """

    def __init__(self, folder: Path, watched: str, read_only: bool = False):
        if read_only and not folder.is_dir():
            raise InputError(folder, "no such folder", "the checkpoints of a run")
        best = BestN(get_metric_fn=lambda metrics: metrics[watched], n=1)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy([LatestN(1), best]),
            best_fn=lambda metrics: metrics[watched],
            create=not read_only,
            read_only=read_only,
        )
        self._folder = folder
        # Orbax writes from a background thread, where a relative path would mean another place.
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, epoch: int, state: TrainState, evaluated: dict) -> None:
        """Saves the state after `epoch`, whose evaluation is a line of metrics.jsonl, in the background."""
        metrics = {name: value for name, value in evaluated.items() if "@" in name}
        parts = {"params": nnx.to_pure_dict(state.params), "optimizer": state.optimizer}
        arguments = ocp.args.Composite(**{name: ocp.args.StandardSave(part) for name, part in parts.items()})
        self._manager.save(epoch, args=arguments, metrics=metrics)

    def restore_params(self, which: str, like: nnx.State) -> tuple[int, nnx.State]:
        """The epoch and the parameters of the 'best' or 'latest' checkpoint.

        Args:
          which: one of WHICH.
          like: parameters of the shapes and dtypes to expect.

        Raises:
          InputError: there is no checkpoint, or it holds other shapes.
        """
        epoch = self._manager.best_step() if which == "best" else self._manager.latest_step()
        if epoch is None:
            raise InputError(self._folder, "no checkpoint", "at least one")
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, nnx.to_pure_dict(like))
        arguments = ocp.args.Composite(params=ocp.args.StandardRestore(shapes))
        try:
            found = self._manager.restore(epoch, args=arguments)["params"]
        except (ValueError, KeyError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                self._folder / str(epoch), f"a damaged checkpoint ({reason})", "one that train saved"
            ) from None
        nnx.replace_by_pure_dict(like, found)
        return epoch, like

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception) -> None:
        self._manager.close()
