"""Models as users hold them: settings in the constructor, `fit`, then what every `Recommender` can do."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.devices.mesh import require_devices
from lgcn_jax.errors import InputError, named_as_in_python
from lgcn_jax.evaluation.scorers import HeadScorer, Scorer
from lgcn_jax.models.inference import AUTO
from lgcn_jax.runs import agreement, resume, scoring, session
from lgcn_jax.runs.display import Display
from lgcn_jax.runs.inference import with_recorded_inference
from lgcn_jax.runs.raw_ids import RawIds
from lgcn_jax.runs.reporter import MemoryReporter
from lgcn_jax.serving import folding
from lgcn_jax.serving.folding import FoldsIn
from lgcn_jax.serving.recommender import require_interactions
from lgcn_jax.serving.vectors import VectorModel
from lgcn_jax.settings import fields, format_value
from lgcn_jax.system import paths
from lgcn_jax.system.interruption import run_interruptibly
from lgcn_jax.system.signals import StopRequest
from lgcn_jax.training import estimate, inference, loop
from lgcn_jax.training.loop import Callback
from lgcn_jax.training.setup import build_setup
from lgcn_jax.training.state import HostParameters
from lgcn_jax.training.warm_start import WarmStart

# Layer 0 and the final embeddings of all nodes, settings, history and status of a fit.
Fitted = tuple[HostParameters, np.ndarray, Config, list[dict[str, Any]], str]


class Model(FoldsIn, VectorModel):
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
      item_embeddings: float32[num_items, d], in the order of `items`; their dot products are the scores, but for
        model="neumf", which makes scores of them by a network.
      history: the lines of metrics.jsonl, one for each epoch and evaluation.
      status: 'completed', or 'interrupted' where Ctrl-C or a callback ended the training.

    Raises:
      InputError: a setting is unknown, out of range, or not one of the chosen loss, model, sampler or schedule.
    """

    @named_as_in_python()
    def __init__(self, model: str = "lightgcn", **settings: Any):
        for name in settings.keys() & fields(DataSettings).keys():
            raise InputError(name, format_value(settings[name]), "nothing here: it is stated where data are read")
        self._stated = {"model": model} | settings
        self.config = Config.of(**self._stated)
        self.history: list[dict[str, Any]] = []
        self.status = ""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All settings by name, those with their defaults included; `deep` is there for scikit-learn.

        What was to be chosen after training is to be chosen, also where it has been.
        """
        del deep
        values = self.config.to_dict() | dict.fromkeys(Config.of(**self._stated).inference.chosen_on_validation, AUTO)
        return {name: value for name, value in values.items() if name not in fields(DataSettings)}

    @named_as_in_python()
    def fit(
        self,
        interactions: Interactions,
        workdir: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        *,
        overwrite: bool = False,
        quiet: bool = False,
        warm_start: "Model | str | Path | None" = None,
        score_test: bool = True,
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
          warm_start: a fitted model, or the folder of a run: users and items that it has, by raw id, begin with its
            layer-0 rows, new ones with what `fold_in` makes of their neighbors. The optimizer begins anew.
          score_test: whether a run in `workdir` whose epoch is chosen on the validation part scores the test part when
            it ends, for its result.json.

        Raises:
          InputError: settings, data and devices do not go together, or `workdir` holds something else.
          WriteError: a file of the run could not be written.
          FloatingPointError: the loss became infinite, not a number, or absurd.
        """
        require_interactions(interactions)
        where = None if workdir is None else paths.as_path(workdir, "workdir")
        require_callables(callbacks)
        require_devices()
        what = self._stated_for(interactions, warm_start), folding.warm_start_from_fitted(warm_start)

        def fit(request: StopRequest) -> Fitted:
            how = request, tuple(callbacks), quiet, *what
            if where is None:
                return self._fit_in_memory(interactions, *how)
            return self._fit_in_folder(interactions, *how, where, overwrite, score_test)

        trained, final, self.config, self.history, self.status = run_interruptibly(fit)
        self.user_embeddings, self.item_embeddings = np.split(final, [interactions.num_users])
        self._remember_graph(self.config, trained, interactions)
        self._remember(interactions)
        return self

    def _stated_for(self, interactions: Interactions, warm_start: Any) -> dict[str, Any]:
        """The settings that were stated, here and where the data were read."""
        source = interactions.source or DataSettings(dataset=interactions.name)
        return dataclasses.asdict(source) | self._stated | folding.warm_start_setting(warm_start)

    def _fit_in_memory(
        self,
        interactions: Interactions,
        request: StopRequest,
        callbacks: tuple[Callback, ...],
        quiet: bool,
        stated: dict[str, Any],
        warm: WarmStart | None,
    ) -> Fitted:
        config = Config.of(**stated)
        estimate.require_memory(config, interactions)
        setup = build_setup(config, interactions)
        begun = session.find_warm_start_point(setup, interactions, warm)
        if begun and not quiet:
            print(begun.note, file=sys.stderr)
        ready = loop.compile_run(setup, begun and begun.start)
        with Display(config, quiet) as shown:
            listener = MemoryReporter(shown, request, callbacks)
            result = loop.train(setup, ready, listener)
        best = listener.best if listener.best is not None else result.params
        if config.inference.chosen_on_validation:
            found = inference.choose_inference_settings(setup, best)
            config = inference.with_inference_settings(config, found)
            setup = dataclasses.replace(setup, config=config)
        return setup.parameters(best), setup.final_embeddings(best), config, listener.history, result.status

    def _fit_in_folder(
        self,
        interactions: Interactions,
        request: StopRequest,
        callbacks: tuple[Callback, ...],
        quiet: bool,
        stated: dict[str, Any],
        warm: WarmStart | None,
        folder: Path,
        overwrite: bool,
        score_test: bool,
    ) -> Fitted:
        def resolve_config(stored: Config | None) -> Config:
            return resume.resolve_config(folder, stored, stated) if stored else Config.of(**stated)

        with agreement.lock_across_processes(folder):
            prepared = session.prepare(
                folder, resolve_config, lambda config: interactions, request, overwrite, warm=warm
            )
            for note in () if quiet else prepared.point.notes:
                print(f"{folder}: {note}", file=sys.stderr)
            history = list(prepared.point.rows)
            told = (*callbacks, history.append)
            result, _ = session.train(folder, prepared, request, quiet, callbacks=told, score_test=score_test)
            if result["status"] == "failed":
                raise FloatingPointError(result["error"])
            config, notes = with_recorded_inference(
                prepared.config, folder, prepared.config.inference.chosen_on_validation
            )
            for note in () if quiet else notes:
                print(f"{folder}: {note}", file=sys.stderr)
            setup = dataclasses.replace(prepared.setup, config=config)
            trained, final, _ = scoring.load_final_embeddings(setup, interactions, folder)
        return trained, final, config, history, result["status"]

    @property
    def vector_width(self) -> int | None:
        return super().vector_width if self.config.model.HAS_VECTORS else None

    def _host_scorer(self) -> Scorer:
        if self.config.model.HAS_VECTORS:
            return super()._host_scorer()
        assert self._trained is not None
        source = self.user_embeddings, self.item_embeddings, self._trained.replicated
        return self._uploads.get("host scorer", source, self._scorer_by_head)

    def _scorer_by_head(self, source: tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]) -> HeadScorer:
        *vectors, parameters = source
        return HeadScorer.from_embeddings(self.config.model.head(parameters), *vectors)  # type: ignore[arg-type]

    def _require_vectors(self, asked: str) -> None:
        super()._require_vectors(asked)
        if not self.config.model.HAS_VECTORS:
            found = f"the model {self.config.to_dict()['model']}, whose scores are no dot products of vectors"
            raise InputError(asked, found, "recommend or predict, or a model with vectors, such as lightgcn or mf")

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        facts, arrays = super()._state()
        facts |= {"kind": "Model", "config": self.config.to_json(), "status": self.status, "history": self.history}
        vectors = {"user_embeddings": self.user_embeddings, "item_embeddings": self.item_embeddings}
        return facts, arrays | vectors | self._graph_arrays(self._seen)

    @classmethod
    def _loaded(cls, facts: dict[str, Any], arrays: dict[str, np.ndarray], ids: tuple[RawIds, RawIds]) -> "Model":
        made = cls._of_config(Config.of_json(facts["config"]))
        made.status, made.history = facts["status"], facts["history"]
        made.user_embeddings, made.item_embeddings = arrays["user_embeddings"], arrays["item_embeddings"]
        made._restore(arrays, ids)
        made._restore_graph(made.config, arrays, made._seen)
        return made

    @classmethod
    def _of_config(cls, config: Config) -> "Model":
        made = cls(**{name: value for name, value in config.to_dict().items() if name not in fields(DataSettings)})
        made.config = config
        return made


class LightGCN(Model):
    """LightGCN (He et al. 2020), by default with the enhanced loss; see `Model`."""

    def __init__(self, **settings: Any):
        if settings.pop("model", "lightgcn") != "lightgcn":
            raise InputError("model", "another model", "lgcn_jax.Model, which takes a name")
        super().__init__("lightgcn", **settings)


def require_callables(callbacks: Any) -> None:
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise InputError("callbacks", f"a {type(callbacks).__name__}", "a sequence of functions")
    for each in callbacks:
        if not callable(each):
            raise InputError("callbacks", f"{each!r} among them", "functions")
