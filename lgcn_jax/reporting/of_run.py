"""Sections about the run itself: its data, its curves, its settings and its environment."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.reporting import charts, numerals
from lgcn_jax.reporting.charts import Chart, Grid, Series
from lgcn_jax.reporting.contents import ReportData, SettingRow
from lgcn_jax.reporting.sections import Section

QUANTILES = {
    "least": 0.0,
    "10 %": 0.1,
    "25 %": 0.25,
    "median": 0.5,
    "75 %": 0.75,
    "90 %": 0.9,
    "99 %": 0.99,
    "most": 1.0,
}
PENALTY = "loss_l2"
FAMILIES = ("recall", "ndcg", "precision")


def data_section(interactions: Interactions, split: str) -> Section:
    """Counts, degrees, the long tail, and what reading remarked."""
    summary = interactions.summary()
    hash_of = summary.pop("content sha256")
    told = {name: value for name, value in summary.items() if not name.endswith(" degree, quartiles")}  # see the table
    facts = [[name, value if isinstance(value, str) else numerals.amount(value)] for name, value in told.items()]
    degrees = {
        "items of a user": csr.degrees(interactions.train),
        "users of an item": csr.column_counts(interactions.train, interactions.num_items),
    }
    rows = [[name, *_format_quantiles(each)] for name, each in degrees.items()]
    noticed = interactions.noticed(split or "none")
    return Section(
        "data",
        "Data",
        [f"{noticed[0].upper()}{noticed[1:]}.", f"Content hash (sha256): {hash_of}"],
        beside=[Grid("Counts", ["", "count"], facts)],
        tables=[Grid("Degrees in the train part", ["", *QUANTILES], rows)],
        charts=[_popularity_chart(degrees["users of an item"])],
        remarks=interactions.remarks,
    )


def _format_quantiles(degrees: np.ndarray) -> list[str]:
    return [numerals.count(value) for value in np.quantile(degrees, list(QUANTILES.values()), method="lower")]


def _popularity_chart(degrees: np.ndarray) -> Chart:
    """How much of the train part the most popular items make up."""
    held = np.cumsum(np.sort(degrees)[::-1]) / max(degrees.sum(), 1)
    share = np.arange(1, len(held) + 1) / len(held)
    places = np.unique(np.searchsorted(share, np.linspace(0.01, 1, 100)).clip(0, len(held) - 1))
    fifth = held[min(int(np.searchsorted(share, 0.2)), len(held) - 1)]
    sentence = f"The most popular fifth of the items have {numerals.percent(fifth)} of the train interactions."
    line = Series("share of the interactions", (100 * share[places]).round(2), held[places])
    how: dict[str, Any] = {"show": numerals.percent, "show_axis": numerals.share, "zero": True}
    label = "% of the items, the most popular first"
    return charts.line_chart("tail", "Long tail", sentence, [line], x_label=label, **how)


def training_section(data: ReportData) -> Section:
    """Loss terms, metrics and learning rate over the epochs."""
    train = [row for row in data.rows if row["split"] == "train"]
    evaluated = [row for row in data.rows if row["split"] != "train"]
    if not train:
        return Section("training", "Training", ["No epoch has been trained to its end."])
    found = [*_loss_charts(train), _learning_rate_chart(train)]
    for family in FAMILIES:
        found += _metric_charts(evaluated, family)
    took = numerals.seconds(sum(row["seconds"] for row in train))
    epochs = f"{numerals.count(len(train))} epoch{'s' if len(train) > 1 else ''}"
    told = [f"Learning took {took} for {epochs}, evaluation and compilation not counted."]
    told += [] if evaluated else ["There was no evaluation during training."]
    return Section("training", "Training", told, charts=found)


def _curve_series(rows: list[dict[str, Any]], key: str, name: str) -> Series:
    return Series(name, *(np.array([row[each] for row in rows], float) for each in ("epoch", key)))


def _loss_charts(train: list[dict[str, Any]]) -> list[Chart]:
    """The total with its terms; and the penalty, which would dwarf them, though its weight is tiny."""
    terms = [name for name in train[0] if name.startswith("loss_") and name != PENALTY]
    series = [_curve_series(train, "loss", "total")]
    series += [_curve_series(train, name, name.removeprefix("loss_")) for name in terms]
    first, last = train[0]["loss"], train[-1]["loss"]
    moved = "falls" if last < first else "rises"
    sentence = (
        f"The total, the weighted sum of its terms, {moved} from {numerals.amount(first)} in epoch "
        f"{train[0]['epoch']} to {numerals.amount(last)} in epoch {train[-1]['epoch']}."
    )
    log = min(float(each.y.min()) for each in series) > 0
    title = "Loss and its terms" + (" (logarithmic)" if log else "")
    found = [charts.line_chart("loss", title, sentence, series, x_label="epoch", log_y=log, zero=not log)]
    if PENALTY in train[0]:
        first, last = (numerals.amount(row[PENALTY]) for row in (train[0], train[-1]))
        sentence = f"Half the squared length of a batch's rows, before its weight: from {first} to {last}."
        penalty = [_curve_series(train, PENALTY, "l2")]
        found.append(charts.line_chart("penalty", "Penalty l2", sentence, penalty, x_label="epoch", zero=True))
    return found


def _metric_charts(evaluated: list[dict[str, Any]], family: str) -> list[Chart]:
    names = [name for name in (evaluated[0] if evaluated else ()) if name.split("@")[0] == family]
    if not names:
        return []
    split, watched = evaluated[0]["split"], names[0]
    best = max(evaluated, key=lambda row: row[watched])
    value = numerals.metric(best[watched])
    sentence = f"On the {split} part, {watched} is highest at epoch {best['epoch']}: {value}."
    mark = (best["epoch"], best[watched], value)
    series = [_curve_series(evaluated, name, name) for name in names]
    how: dict[str, Any] = {"x_label": "epoch", "show": numerals.metric, "mark": mark, "zero": True}
    return [charts.line_chart(f"curve-{family}", f"{family}, {split} part", sentence, series, **how)]


def _learning_rate_chart(train: list[dict[str, Any]]) -> Chart:
    first, last = train[0]["learning_rate"], train[-1]["learning_rate"]
    sentence = f"From {first:.3g} in epoch {train[0]['epoch']} to {last:.3g} in epoch {train[-1]['epoch']}."
    if len({row["learning_rate"] for row in train}) == 1:
        sentence = f"{first:.3g} throughout."
    series = [_curve_series(train, "learning_rate", "learning rate")]
    show: Callable[[float], str] = "{:.3g}".format
    return charts.line_chart("learning-rate", "Learning rate", sentence, series, x_label="epoch", show=show, zero=True)


def settings_section(settings: list[SettingRow]) -> Section:
    """The settings that differ from the defaults, and below them the others."""
    changed = [row for row in settings if row.value != row.default]
    kept = [row for row in settings if row.value == row.default]
    differ = Grid(
        f"Other than the default: {len(changed)} settings",
        ["setting", "value", "default", "what it is"],
        [[f"--{row.name}", row.value, row.default, row.help] for row in changed],
        numeric=False,
    )
    same = Grid(
        f"As by default: {len(kept)} settings",
        ["setting", "value", "what it is"],
        [[f"--{row.name}", row.value, row.help] for row in kept],
        numeric=False,
    )
    told = ["The names are those of the flags of lgcn-jax train and of the arguments in Python."]
    return Section("settings", "Settings", told, tables=[differ], folded=[same])


def environment_section(environment: dict[str, Any]) -> Section:
    """Versions, devices, and what else could change numbers."""
    if not environment:
        return Section("environment", "Environment", ["The run has left no environment.json."])
    facts = [[name, _format_value(value)] for name, value in environment.items() if not name.startswith("dataset.")]
    title = "Versions, device and what else could change the numbers"
    wanted = {"lgcn_jax": "lgcn_jax {}", "jax": "JAX {}", "device.kind": "on {}", "cpu": "{}", "commit": "commit {}"}
    named = [text.format(str(environment[key])[:40]) for key, text in wanted.items() if environment.get(key)]
    return Section("environment", "Environment", [", ".join(named)], folded=[Grid(title, ["", "value"], facts, False)])


def _format_value(value: Any) -> str:
    return "none" if value in (None, "", {}) else str(value)
