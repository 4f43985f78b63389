"""A run folder, or a fitted model -> what a report tells."""

import contextlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lgcn_jax.config import PARTS, Config
from lgcn_jax.data import csr, datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import ONE_DEVICE, Mesh
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation.scorers import DotProduct, HeadScorer, Scorer
from lgcn_jax.reporting import measures, quality
from lgcn_jax.reporting.contents import LISTED, Findings, ReportData, SettingRow, UserLists
from lgcn_jax.runs import checkpoint, inference, integrity, raw_ids, scoring, workdir
from lgcn_jax.runs.resume import stored_settings
from lgcn_jax.serving import storage, topk
from lgcn_jax.serving.models import Model
from lgcn_jax.settings import Registry, fields, format_value
from lgcn_jax.training.setup import build_setup


def from_folder(folder: Path, interactions: Interactions | None = None) -> ReportData:
    """What the run in `folder` tells.

    Args:
      folder: of the run.
      interactions: the data that it was trained on; None: they are loaded as the run's settings say.

    Raises:
      InputError: there is no run, its data cannot be had, or they are others than it was trained on.
    """
    config = read_config(folder)
    interactions = interactions or raw_ids.with_kept_titles(datasets.load(config.data), folder)
    if workdir.content_sha256(folder) not in (None, interactions.content_hash()):
        raise InputError(f"--workdir={folder}", "other data than the run's", "those that it was trained on")
    result = _read_json(folder / "result.json")
    return ReportData(
        model=config.to_dict()["model"],
        status=result.get("status", "unfinished"),
        error=result.get("error", ""),
        settings=setting_rows(config),
        environment=workdir.flatten(_read_json(folder / "environment.json")),
        interactions=interactions,
        rows=workdir.logged_rows(folder),
        result=result,
        findings=_findings_in_folder(folder, config, interactions),
    )


def from_model(model: Model, interactions: Interactions) -> ReportData:
    """What a fitted model tells of the data that it was fitted on.

    Raises:
      InputError: the data have other users or items.
    """
    same = np.array_equal(interactions.user_ids, model.users) and np.array_equal(interactions.item_ids, model.items)
    if not same:
        found = f"{interactions.num_users} users and {interactions.num_items} items"
        raise InputError("interactions", found, f"the {len(model.users)} and {len(model.items)} of the model")
    config = model.config
    evaluated = [row for row in model.history if row["split"] != "train"]
    best = max(evaluated, key=lambda row: row[config.evaluation.watched_metric], default={})
    epochs = sum(row["split"] == "train" for row in model.history)
    return ReportData(
        model=config.to_dict()["model"],
        status=model.status,
        error="",
        settings=setting_rows(config),
        environment=workdir.flatten(workdir.describe_environment(config, interactions)),
        interactions=interactions,
        rows=list(model.history),
        result={"epochs": epochs, "best": best},
        findings=findings(model.scorer, model.item_embeddings, interactions, config, best.get("epoch", epochs), []),
    )


def read_config(folder: Path) -> Config:
    """The settings of the run in `folder`.

    Raises:
      InputError: there is none.
    """
    if storage.is_model(folder):
        raise InputError(f"--workdir={folder}", "a saved model, which has no epochs", "a run that was trained")
    config = stored_settings(folder)
    if config is None:
        raise InputError(f"--workdir={folder}", "no run", "a folder that train has filled")
    return config


def setting_rows(config: Config) -> list[SettingRow]:
    """All settings with their defaults, part after part."""
    found = []
    for part, kind in PARTS.items():
        chosen = getattr(config, part)
        if isinstance(kind, Registry):
            found.append(SettingRow(part, part, kind.name_of(chosen), kind.default, kind.help))
        for name, field in fields(type(chosen)).items():
            value, default = (format_value(each) for each in (getattr(chosen, name), field.default))
            found.append(SettingRow(name, part, value, default, field.metadata["help"]))
    return found


def findings(
    scorer: Scorer, items: np.ndarray, interactions: Interactions, config: Config, epoch: int, notes: list[str]
) -> Findings:
    """What the scorer of an epoch gives: on the test part, or where that is empty on the validation part.

    `items` are the final embeddings, also where their dot products are no scores.
    """
    split = next((name for name in ("test", "valid") if interactions.part(name).nnz), "")
    degrees = csr.column_counts(interactions.train, interactions.num_items)
    ranker = topk.Ranker(scorer, interactions.num_items, Mesh.of(ONE_DEVICE))
    assessed = quality.assess(scorer, ranker, interactions, split, config.evaluation.top_k) if split else None
    lists = _user_lists(ranker, interactions, split or "valid")
    return Findings(epoch, notes, assessed, measures.item_map(items, degrees), lists)


def _user_lists(ranker: topk.Ranker, interactions: Interactions, split: str) -> list[UserLists]:
    part, seen = interactions.part(split), interactions.seen(split)
    degrees = csr.degrees(interactions.train)
    candidates = np.flatnonzero((csr.degrees(part) > 0) | (part.nnz == 0))
    shown = measures.users_to_show(degrees, candidates)
    everything = np.ones(interactions.num_items, bool)
    ids, scores = ranker.top_items(shown, seen, everything, min(LISTED, interactions.num_items))
    found = []
    for place, user in enumerate(shown.tolist()):
        history, relevant = (measures.csr_row(rows, user) for rows in (seen, part))
        real = np.isfinite(scores[place])
        found.append(UserLists(user, history, ids[place][real], scores[place][real], relevant))
    return found


def _findings_in_folder(folder: Path, config: Config, interactions: Interactions) -> Findings | None:
    """None where no checkpoint was saved."""
    if not integrity.checkpoint_steps(folder / "checkpoints"):
        return None
    one, unchosen = inference.with_recorded_inference(
        config.replace(mesh=ONE_DEVICE), folder, config.inference.chosen_on_validation
    )
    trained, vectors, choice = scoring.load_final_embeddings(
        build_setup(one, interactions, trains=False), interactions, folder
    )
    epoch = checkpoint.read_metadata(folder / "checkpoints", choice.step)["progress"]["epoch"]
    notes = [*unchosen, *choice.notes, *filter(None, [choice.missing])]
    users, items = np.split(vectors, [interactions.num_users])
    head = config.model.head(trained.replicated)  # type: ignore[arg-type]
    scorer = HeadScorer.from_embeddings(head, users, items) if head else DotProduct(users, items)  # type: ignore[arg-type]
    return findings(jax.device_put(scorer), items, interactions, config, epoch, notes)


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
