"""Models as users hold them: settings in the constructor, `fit`, then what every `Recommender` can do."""

import dataclasses
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.baselines import popularity
from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.devices.mesh import require_devices
from lgcn_jax.errors import InputError, named_as_in_python
from lgcn_jax.evaluation.scorers import DotProduct, Scorer
from lgcn_jax.runs import agreement, resume, scoring, session
from lgcn_jax.runs.display import Display
from lgcn_jax.runs.reporter import Reporter
from lgcn_jax.serving import storage
from lgcn_jax.serving.recommender import Recommender, require_interactions
from lgcn_jax.settings import fields, text
from lgcn_jax.system import paths
from lgcn_jax.system.signals import Stopped, StopRequest
from lgcn_jax.training import estimate, loop
from lgcn_jax.training.loop import Callback
from lgcn_jax.training.setup import build_setup
from lgcn_jax.training.state import Snapshot

# The final embeddings of all nodes, settings, history and status of a fit.
Fitted = tuple[np.ndarray, Config, list[dict[str, Any]], str]


class Model(Recommender):
    """A model that is trained: by default LightGCN with the enhanced loss.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> model = lg.LightGCN(loss="bpr", embedding_dim=8, epochs=2, top_k=(5,)).fit(interactions, quiet=True)
    >>> model.recommend([3, 4], k=5).ids.shape
    (2, 5)

    Args:
      model: the name of the encoder.
      **settings: the settings that `lgcn-jax train --help` lists, but for those of the data set; others have their
        defaults.

    Attributes:
      config: the settings.
      users, items: raw ids, once it was fitted.
      user_embeddings: float32[num_users, d], the final (propagated) vectors of the best epoch, in the order of `users`.
      item_embeddings: float32[num_items, d], in the order of `items`; their dot products are the scores.
      history: the lines of metrics.jsonl, one for each epoch and evaluation.
      status: 'completed', or 'interrupted' where Ctrl-C or a callback ended the training.

    Raises:
      InputError: a setting is unknown, out of range, or not one of the chosen loss, model, sampler or schedule.
    """

    user_embeddings: np.ndarray
    item_embeddings: np.ndarray

    @named_as_in_python()
    def __init__(self, model: str = "lightgcn", **settings: Any):
        for name in settings.keys() & fields(DataSettings).keys():
            raise InputError(name, text(settings[name]), "nothing here: it is stated where data are read")
        self._stated = {"model": model} | settings
        self.config = Config.of(**self._stated)
        self.history: list[dict[str, Any]] = []
        self.status = ""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All settings by name, those with their defaults included; `deep` is there for scikit-learn."""
        del deep
        return {name: value for name, value in self.config.to_dict().items() if name not in fields(DataSettings)}

    @named_as_in_python()
    def fit(
        self,
        interactions: Interactions,
        workdir: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        *,
        overwrite: bool = False,
        quiet: bool = False,
    ) -> "Model":
        """Trains on the train part; the part `eval_split` chooses the best epoch. Returns self.

        Ctrl-C ends the training after the step in hand; the model is then that of the best epoch so far.

        Args:
          interactions: of `lgcn_jax.load` or `lgcn_jax.read`.
          workdir: a run folder, as of `lgcn-jax train`: it is filled with checkpoints, metrics and curves, and what it
            holds of the same run is continued. None: nothing is written to disk.
          callbacks: called with each line of `history`; training ends after an epoch for which one returns True.
          overwrite: whether another run in `workdir` is begun anew.
          quiet: whether no progress is shown.

        Raises:
          InputError: settings, data and devices do not go together, or `workdir` holds something else.
          WriteError: a file of the run could not be written.
          FloatingPointError: the loss became infinite, not a number, or absurd.
        """
        require_interactions(interactions)
        folder = None if workdir is None else paths.stated(workdir, "workdir")
        _require_functions(callbacks)
        require_devices()
        try:
            with _requests() as request:
                how = request, tuple(callbacks), quiet
                if folder is None:
                    fitted = self._fit_in_memory(interactions, *how)
                else:
                    fitted = self._fit_in_folder(interactions, *how, folder, overwrite)
        except Stopped:
            fitted = None
        if request.signal not in (0, signal.SIGINT):
            signal.raise_signal(request.signal)  # which was the program's to answer, and is again
        if fitted is None:
            raise KeyboardInterrupt  # before the first step there is nothing to return
        table, self.config, self.history, self.status = fitted
        self.user_embeddings, self.item_embeddings = np.split(table, [interactions.num_users])
        self._remember(interactions)
        return self

    def _stated_for(self, interactions: Interactions) -> dict[str, Any]:
        """The settings that were stated, here and where the data were read."""
        source = interactions.source or DataSettings(dataset=interactions.name)
        return dataclasses.asdict(source) | self._stated

    def _fit_in_memory(
        self, interactions: Interactions, request: StopRequest, callbacks: tuple[Callback, ...], quiet: bool
    ) -> Fitted:
        config = Config.of(**self._stated_for(interactions))
        estimate.require_memory(config, interactions)
        setup = build_setup(config, interactions)
        ready = loop.compile_run(setup)
        with Display(config, quiet) as shown:
            listener = _Memory(shown, request, callbacks)
            result = loop.train(setup, ready, listener)
        best = listener.best if listener.best is not None else result.params
        return setup.final_embeddings(best), config, listener.history, result.status

    def _fit_in_folder(
        self,
        interactions: Interactions,
        request: StopRequest,
        callbacks: tuple[Callback, ...],
        quiet: bool,
        folder: Path,
        overwrite: bool,
    ) -> Fitted:
        stated = self._stated_for(interactions)

        def settle(stored: Config | None) -> Config:
            return resume.resolve_config(folder, stored, stated) if stored else Config.of(**stated)

        with agreement.lock_across_processes(folder):
            prepared = session.prepare(folder, settle, lambda config: interactions, request, overwrite)
            for note in () if quiet else prepared.point.notes:
                print(f"{folder}: {note}", file=sys.stderr)
            history = list(prepared.point.rows)
            result, _ = session.train(folder, prepared, request, quiet, callbacks=(*callbacks, history.append))
            if result["status"] == "failed":
                raise FloatingPointError(result["error"])
            table, _ = scoring.checkpoint_embeddings(prepared.setup, interactions, folder)
        return table, prepared.config, history, result["status"]

    @property
    def scorer(self) -> Scorer:
        """Dot products of the final vectors."""
        self._require_fitted()
        return DotProduct(jnp.asarray(self.user_embeddings), jnp.asarray(self.item_embeddings))

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        facts, arrays = super()._state()
        facts |= {"kind": "Model", "config": self.config.to_json(), "status": self.status, "history": self.history}
        vectors = {"user_embeddings": self.user_embeddings, "item_embeddings": self.item_embeddings}
        return facts, arrays | vectors

    @classmethod
    def _loaded(cls, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Model":
        config = Config.of_json(facts["config"])
        stated = {name: value for name, value in config.to_dict().items() if name not in fields(DataSettings)}
        made = cls(**stated)
        made.config, made.status, made.history = config, facts["status"], facts["history"]
        made.user_embeddings, made.item_embeddings = arrays["user_embeddings"], arrays["item_embeddings"]
        made._restore(facts, arrays)
        return made


class LightGCN(Model):
    """LightGCN (He et al. 2020), by default with the enhanced loss; see `Model`."""

    def __init__(self, **settings: Any):
        if settings.pop("model", "lightgcn") != "lightgcn":
            raise InputError("model", "another model", "lgcn_jax.Model, which takes a name")
        super().__init__("lightgcn", **settings)


class Popularity(Recommender):
    """The most popular items for everybody, by the number of train pairs; ties go to the lowest id.

    >>> import lgcn_jax as lg
    >>> popular = lg.Popularity().fit(lg.read(([1, 2, 3, 3], [7, 7, 7, 8]), test_fraction=0.5))
    >>> popular.recommend(2, k=1, exclude_seen=False).ids.tolist()
    [[7]]
    """

    item_scores: np.ndarray

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """It has no settings."""
        del deep
        return {}

    def fit(self, interactions: Interactions) -> "Popularity":
        """Counts the train pairs of each item. Returns self."""
        self.item_scores = np.asarray(popularity.Popularity().fit(interactions).items)
        self._remember(interactions)
        return self

    @property
    def scorer(self) -> Scorer:
        """The items' counts, for every user."""
        self._require_fitted()
        return popularity.ItemScores(jnp.asarray(self.item_scores))

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        facts, arrays = super()._state()
        return facts, arrays | {"item_scores": self.item_scores}

    @classmethod
    def _loaded(cls, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Popularity":
        made = cls()
        made.item_scores = arrays["item_scores"]
        made._restore(facts, arrays)
        return made


def load_model(folder: str | Path) -> Model | Popularity:
    """The model that `save` wrote into a folder.

    >>> import lgcn_jax as lg
    >>> lg.Popularity().fit(lg.read(([1, 2, 3, 3], [7, 7, 7, 8]), test_fraction=0.5)).save("popular")
    >>> lg.load_model("popular").users.tolist()
    [1, 2, 3]

    Raises:
      InputError: there is no model, one of another version, or one whose parts are not registered.
    """
    facts, arrays = storage.load(paths.stated(folder, "folder"))
    kinds: dict[str, type[Model] | type[Popularity]] = {"Model": Model, "Popularity": Popularity}
    if not isinstance(facts.get("kind"), str) or facts["kind"] not in kinds:
        raise InputError(folder, f"a model of kind {facts.get('kind')!r}", f"one of {', '.join(kinds)}")
    try:
        return kinds[facts["kind"]]._loaded(facts, arrays)
    except KeyError as error:
        raise InputError(folder, f"a model without {error}", "the folder of a saved model") from None
    except InputError:
        raise
    except (TypeError, AttributeError, ValueError) as error:
        raise InputError(folder, f"a model that cannot be read ({error})", "the folder of a saved model") from None


class _Memory(Reporter):
    """Keeps what a run tells, and the parameters of its best epoch, in memory."""

    def __init__(self, shown: Display, request: StopRequest, callbacks: tuple[Callback, ...]):
        self.history: list[dict[str, Any]] = []
        self.best = None
        super().__init__(shown, request, (*callbacks, self.history.append))

    def save(self, snapshot: Snapshot, scheduled: bool) -> None:
        chosen = snapshot.progress.chosen
        if chosen is not None and chosen["epoch"] == snapshot.progress.epoch and not snapshot.progress.step:
            self.best = jax.tree.map(jnp.copy, snapshot.state.params)


def _require_functions(callbacks: Any) -> None:
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise InputError("callbacks", f"a {type(callbacks).__name__}", "a sequence of functions")
    for each in callbacks:
        if not callable(each):
            raise InputError("callbacks", f"{each!r} among them", "functions")


def _requests():
    """Answers to signals: only the main thread may have them."""
    if threading.current_thread() is threading.main_thread():
        return StopRequest()
    return nullcontext(StopRequest())
