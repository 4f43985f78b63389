"""The rows of all models as Markdown: what they reach and take, groups of users and items; what others published."""

import statistics
from collections.abc import Sequence
from typing import Any

from leaderboard_facts import Measured, Row

NOTHING = "-"
GOALS = {"gowalla": 0.1830, "yelp2018": 0.0649}  # recall@20 of the LightGCN paper
CHOSEN = {"none": "fixed", "test": "test", "valid": "validation", "": NOTHING}
HEAD = ("model", "loss", "recall@20", "ndcg@20", "published", "seeds", "epoch chosen on", "trained or solved in")
GOAL = "to {goal}"
COSTS = ("whole command", GOAL, "peak memory", "width", "device", "commit")
GROUPS = ("folded in / trained in", "tail's share of lists", "tail found", "coverage", "mean popularity", "Gini")
COUNTED = """\
recall@20 and ndcg@20 are of the test part; with several seeds mean ± standard deviation. *Trained or solved in*: all
steps and evaluations, without compilation; of a solved model solving and evaluating. *Whole command*: from its start to
its record, with imports, reading, compilation, evaluations and saves; - where several commands made the run.
*To {goal}*: from the start of the command to the end of the first evaluation with
such a recall@20; ≤: only the end of the training is known, since the epoch was chosen on the validation part; ≥: of the
time before the first step only compilation is known. *Peak memory*: of the process, and after a + of a device with
memory of its own. *Width*: numbers of the vector of a user or an item. *Commit*: + with changes."""


def results(rows: Sequence[Row], published: dict[str, Any]) -> str:
    """A table for each data set, best first, and what its columns count."""
    parts = []
    for dataset in datasets(rows):
        here = ordered(rows, dataset)
        goal = GOALS.get(dataset)
        named = [name if goal is None else name.format(goal=decimal(goal)) for name in COSTS if goal or name != GOAL]
        lines = [_cells(row, label, published, goal) for row, label in zip(here, labels(here), strict=True)]
        parts += [f"**{dataset}**", _table([*HEAD, *named], lines), *_notes(here, labels(here))]
    goals = " or ".join(f"{decimal(goal)} ({dataset})" for dataset, goal in GOALS.items())
    return "\n\n".join([*parts, COUNTED.format(goal=goals)])


def _cells(row: Row, label: str, published: dict[str, Any], goal: float | None) -> list[str]:
    commits = dict.fromkeys(shown_commit(run.commit) for run in row.runs)
    seeds = [str(run.seed) for run in row.runs if run.seed is not None]
    return [
        *(label, row.loss or NOTHING, _metric(row, "recall"), _metric(row, "ndcg")),
        _published(row, published),
        " ".join(seeds) or NOTHING,
        " ".join(dict.fromkeys(CHOSEN[run.chosen] for run in row.runs)),
        *(duration(row.mean("seconds")), duration(row.mean("wall_seconds"))),
        *([] if goal is None else [time_to(row.runs, goal)]),
        _memory(row),
        NOTHING if row.vector_width is None else str(row.vector_width),
        row.device,
        " ".join(commits),
    ]


def time_to(runs: Sequence[Measured], goal: float) -> str:
    """The mean time in which the goal was reached; '-' where a run did not reach it."""
    found = [run.reached(goal) for run in runs]
    if None in found:
        return NOTHING
    late, early = any(run.chosen == "valid" for run in runs), any(run.startup_seconds is None for run in runs)
    return ("≤ " if late else "≥ " if early else "") + duration(statistics.fmean(found))


def groups(rows: Sequence[Row]) -> str:
    """A table for each data set with the rows that were asked for groups."""
    parts = []
    for dataset in datasets(rows):
        here = ordered(rows, dataset)
        asked = [(row.cold_start, label) for row, label in zip(here, labels(here), strict=True) if row.cold_start]
        if not asked:
            continue
        bounds = asked[0][0]["user_groups"]["up_to"]
        head = ["model", *(f"users ≤ {bound:,}" for bound in bounds), *GROUPS]
        parts += [f"**{dataset}**", _table(head, [[label, *_group_cells(found)] for found, label in asked])]
    text = """\
*users ≤ n*: recall@20 of users with up to so many interactions in all parts, in groups of about equal interactions.
*Tail*: the least popular items that together have half of the train pairs; *share of lists*: of all their places;
*found*: the share of its own test pairs that were recommended. *Coverage*: the share of all items that stand in a list;
*mean popularity*: train users of a recommended item; *Gini*: of the exposure of all items, 0 where all have the same.
*Folded in*: recall@20 of a tenth of the users, whom another fit with the same settings left out, by their train items;
beside it that of the same users by the row's own model."""
    return "\n\n".join([*parts, text]) if parts else "No row was asked for groups."


def _group_cells(found: dict[str, Any]) -> list[str]:
    items, metrics = found["item_groups"], found["metrics"]
    half = tail(items["train"])
    tested, hit = sum(items["relevant"][:half]), sum(_product(items["found@20"], items["relevant"])[:half])
    fold = found.get("fold_in")
    return [
        *(NOTHING if recall is None else decimal(recall) for recall in found["user_groups"]["recall@20"]),
        NOTHING if not fold else f"{decimal(fold['folded_in'])} / {decimal(fold['trained_in'])}",
        f"{sum(items['exposure@20'][:half]):.1%}",
        decimal(hit / tested) if tested else NOTHING,
        *(f"{metrics['coverage@20']:.1%}", f"{metrics['average_popularity@20']:,.0f}", f"{metrics['gini@20']:.3f}"),
    ]


def tail(train: Sequence[int]) -> int:
    """How many of the groups, from the least popular items on, have about half of the train pairs."""
    sums = [abs(sum(train[:count]) - sum(train) / 2) for count in range(len(train) + 1)]
    return sums.index(min(sums))


def _product(left: Sequence[float | None], right: Sequence[float]) -> list[float]:
    return [(one or 0) * other for one, other in zip(left, right, strict=True)]


def of_others(published: dict[str, Any]) -> str:
    """What others have published, a row for each model."""
    sets = ("gowalla", "yelp2018", "amazon-book")
    lines = []
    for row in published["rows"]:
        cells = [_pair(row["results"].get(dataset)) for dataset in sets]
        width = NOTHING if row["width"] is None else str(row["width"])
        read = row["source"] + (" (from a later paper's table)" if row["read"] == "second-hand" else "")
        lines.append([row["model"], *cells, width, row["chosen"], read])
    head = ["published: recall@20 / ndcg@20", *sets, "width", "epoch chosen on", "source"]
    said = "Every published row with epochs chose its epoch on the test part."
    return f"{_table(head, lines)}\n\n{said}"


def labels(rows: Sequence[Row]) -> list[str]:
    """What each of the rows of one data set is called: where several have one model and loss, by what differs."""
    found = []
    for row in rows:
        alike = [other for other in rows if (other.label, other.model, other.loss) == (row.label, row.model, row.loss)]
        names = sorted({name for other in alike for name in other.settings})
        differ = [name for name in names if len({str(other.settings.get(name)) for other in alike}) > 1]
        told = ", ".join(f"{name} {_text(row.settings[name])}" for name in differ if name in row.settings)
        found.append((row.label or row.model) + (f" ({told})" if told else ""))
    return found


def datasets(rows: Sequence[Row]) -> list[str]:
    """The data sets of the rows, in the order of GOALS and then of their names."""
    return sorted({row.dataset for row in rows}, key=lambda name: (name not in GOALS, name))


def ordered(rows: Sequence[Row], dataset: str) -> list[Row]:
    """The rows of a data set, best first."""
    return sorted((row for row in rows if row.dataset == dataset), key=lambda row: (-row.mean("recall"), row.name))


def decimal(value: float) -> str:
    """.1850 in place of 0.1850."""
    return f"{value:.4f}".removeprefix("0")


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours, with three digits at most."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def shown_commit(commit: str | None) -> str:
    """The first seven digits, and + where there were changes."""
    return NOTHING if commit is None else commit[:7] + ("+" if commit.endswith("-dirty") else "")


def _metric(row: Row, name: str) -> str:
    spread = row.spread(name)
    return decimal(row.mean(name)) + ("" if spread is None else f" ± {decimal(spread)}")


def _published(row: Row, published: dict[str, Any]) -> str:
    for other in published["rows"]:
        like = other["like"]
        if like and row.dataset in other["results"] and like.items() <= {"model": row.model, "loss": row.loss}.items():
            return _pair(other["results"][row.dataset])
    return NOTHING


def _pair(values: Sequence[float | None] | None) -> str:
    return NOTHING if values is None else " / ".join(NOTHING if value is None else decimal(value) for value in values)


def _memory(row: Row) -> str:
    held = [row.mean(name) for name in ("peak_bytes", "device_peak_bytes")]
    return " + ".join(f"{size / 1e9:.1f} GB" for size in held if size is not None) or NOTHING


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _notes(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """The rows' notes, each with the labels of those that have it."""
    told: dict[str, list[str]] = {}
    for row, label in zip(rows, names, strict=True):
        if row.note:
            told.setdefault(row.note, []).append(label)
    return [f"{', '.join(having)}: {note}" for note, having in told.items()]


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
