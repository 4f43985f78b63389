"""Sections on parts a, b and c: the loss and its parts on LastFM, its settings, other data."""

from typing import Any

import numpy as np
from differences import verdict
from wording import interval, judged, means, name_of, p_values, pairs_of, percent, spread, told

from lgcn_jax.reporting.charts import Chart, Grid, Series, line_chart
from lgcn_jax.reporting.intervals import heatmap, interval_chart
from lgcn_jax.reporting.numerals import NONE, amount, difference, metric
from lgcn_jax.reporting.sections import Section

Findings = dict[str, Any]

PROTOCOLS = {"valid": "best on valid", "test": "best on test", "epoch 480": "epoch 480", "last": "last epoch"}


def source(found: Findings, *names: str) -> list[str]:
    """Where a section's numbers come from, one sentence for each file."""
    told = []
    for name in names:
        if (each := found["sources"].get(name)) is None:
            told.append(f"Not run yet: python experiments/study/run.py {name}.")
            continue
        took = f"{each['runs']} runs of at most {each['epochs']} epochs, evaluated every {each['eval_every']}"
        told.append(f"Source: {each['file']}, made by {each['command']} ({took}).")
        told += rising(each)
    return told


def rising(each: dict[str, Any]) -> list[str]:
    """What is to be said of runs that had not stopped to rise, which a faster loss gains by."""
    if not each["held_out"] or not each["rising"]:
        return []
    return [
        f"Of {each['rising']} of the {each['runs']} runs validation chose the last evaluation: they were still rising "
        "when the budget ended, which favors the loss that learns faster."
    ]


def table(rows: list[dict[str, Any]], caption: str) -> Grid:
    """Conditions by protocol: test metrics as mean and standard deviation."""
    head = ["condition", "epoch chosen", "seeds", "recall@20", "sd", "ndcg@20", "sd", "mean epoch"]
    cells = [
        [
            name_of(row["condition"]),
            PROTOCOLS[row["protocol"]],
            str(row["seeds"]),
            *(f(row[key][part]) for key in ("recall@20", "ndcg@20") for f, part in ((metric, "mean"), (spread, "sd"))),
            f"{row['epoch']['mean']:.0f}",
        ]
        for row in rows
    ]
    return Grid(caption, head, cells)


def difference_table(rows: list[dict[str, Any]], caption: str) -> Grid:
    """Paired differences with intervals and corrected p-values."""
    head = ["second", "less first", "metric", "epoch", "pairs", "difference", "relative", "from", "to"]
    head += ["p", "p (Holm)", "verdict"]
    cells = [
        [
            name_of(row["second"]),
            name_of(row["first"]),
            row["metric"],
            PROTOCOLS[row["protocol"]],
            pairs_of(row),
            difference(row["difference"]),
            percent(row["relative"][0]),
            *(NONE if row[end] is None else difference(row[end]) for end in ("low", "high")),
            *p_values(row),
            verdict(row),
        ]
        for row in rows
    ]
    return Grid(caption, head, cells)


def curve_chart(name: str, title: str, sentence: str, curves: dict[str, dict[str, list]]) -> Chart:
    """Mean curves with a band of one standard deviation."""
    return line_chart(
        name,
        title,
        sentence,
        [_series(name_of(key), curve) for key, curve in curves.items()],
        x_label="epoch",
        show=metric,
    )


def lead_chart(name: str, title: str, leads: dict[str, dict[str, list]], pairs: str, whose: str = "the loss") -> Chart:
    """Mean leads by epoch with their intervals."""
    about = f"Mean paired lead in test recall@20 at each evaluation, {pairs}, with its 95 % interval"
    sentence = f"{about}; above 0 {whose} is ahead."
    drawn = [_series(name_of(key), lead) for key, lead in leads.items()]
    return line_chart(name, title, sentence, drawn, x_label="epoch", show=difference, show_axis=difference, zero=True)


def _series(label: str, curve: dict[str, list]) -> Series:
    edges = [None if None in curve[edge] else np.array(curve[edge], float) for edge in ("low", "high")]
    return Series(label, np.array(curve["epoch"], float), np.array(curve["mean"], float), *edges)


def losses(found: Findings) -> Section:
    part, name, title = found["losses"], "losses", "a. LastFM: margin, contrast, both"
    if part is None:
        return Section(name, title, source(found, name))
    rows = [row for row in part["differences"] if row["metric"] == "recall@20"]
    chart = interval_chart(
        "losses-differences",
        "Against BPR, seed by seed",
        "Paired differences in test recall@20 at the epochs that validation chose; a ring for each seed.",
        [interval(row, name_of(row["second"])) for row in rows],
        row_label="loss",
    )
    sentences = [
        "Every loss is trained from the same start on the same triples for each seed. A tenth of each user's train "
        "items is "
        "held out and chooses the epoch; the test part is evaluated beside it, of the same parameters, and chooses "
        "nothing.",
        *(f"{name_of(row['second']).capitalize()}: {means(row)} with BPR, {told(row)}: {judged(row)}." for row in rows),
    ]
    seeds = rows[0]["pairs"] if rows else 0
    charts = [
        curve_chart(
            "losses-curves",
            "recall@20 on the test part",
            "Means over the seeds and one standard deviation.",
            part["curves"],
        ),
        *(
            [lead_chart("losses-lead", "The lead over BPR", part["leads"], f"up to {seeds} seeds")]
            if part["leads"]
            else []
        ),
        *([chart] if rows else []),
    ]
    tables = [table(part["table"], "Test metrics by protocol, on models that never saw the validation part")]
    beside = part["differences"] + part["users"] + part["on test"] + part["at 480"]
    tables.append(
        difference_table(beside, "All differences from BPR; p-values are corrected within each protocol and pairing")
    )
    return Section(name, title, sentences, source(found, name), charts, tables=tables)


def printed(found: Findings) -> Section:
    part, name, title = found["printed"], "printed", "a. The paper's own protocol"
    paper, replayed = found["reference"]["paper"], found["reference"]["replayed"]
    sentences = [
        f"The paper prints recall@20 {metric(paper['baseline']['recall@20'])} for BPR and "
        f"{metric(paper['both']['recall@20'])} "
        f"for its loss, of one seed. Both are LightGCN-PyTorch's at seed {replayed['seed']} and epoch "
        f"{replayed['epoch']}, to the last "
        f"digit. In these same two runs BPR's best is {metric(replayed['baseline']['best'])} (epoch "
        f"{replayed['baseline']['best epoch']}), "
        f"the paper's loss' best {metric(replayed['both']['best'])} (epoch {replayed['both']['best epoch']}; "
        f"its text has {metric(paper['text']['recall@20'])}); "
        f"at epoch 100 they have {metric(replayed['baseline']['at 100'])} and {metric(replayed['both']['at 100'])}.",
        "The ndcg@20 that the paper prints for its baseline, "
        f"{metric(paper['baseline']['ndcg@20'])}, is not that of the run, {metric(replayed['baseline']['ndcg@20'])}; "
        "its text has .2115.",
    ]
    remarks = [f"Source: {paper['source']}; {replayed['source']}.", *source(found, name)]
    if part is None:
        return Section(name, title, sentences, remarks)
    sentences.append(
        "Here the same protocol with other seeds: all train pairs are trained on, and the epoch is the best of the "
        "test part, or 480. "
        "A maximum over noisy test evaluations is no result; it is shown because the paper's numbers are of that kind."
    )
    charts = [
        curve_chart(
            "printed-curves",
            "recall@20 on the test part, all train pairs",
            "Means and one standard deviation.",
            part["curves"],
        ),
        lead_chart("printed-lead", "The lead over BPR, all train pairs", {"both": part["lead"]}, "paired seeds"),
    ]
    tables = [
        table(part["table"], "Test metrics by the paper's protocol"),
        difference_table(part["differences"], "Differences by the paper's protocol"),
    ]
    return Section(name, title, sentences, remarks, charts, tables=tables)


def sensitivity(found: Findings) -> Section:
    charts, sentences, tables = [], [], []
    for name, part in found["sensitivity"].items():
        if part is None:
            continue
        axes = list(part["rows"][0]["axes"])
        rows, columns = (sorted({row["axes"][axis] for row in part["rows"]}) for axis in axes)
        values = np.full((len(rows), len(columns)), np.nan)
        for row in part["rows"]:
            place = rows.index(row["axes"][axes[0]]), columns.index(row["axes"][axes[1]])
            values[place] = row["lead"]["difference"]
        seeds = pairs_of(part["rows"][0]["lead"])
        label = f"Mean lead over BPR in test recall@20 ({seeds} a cell), each at the epoch that validation chose."
        texts = [list(map(amount, axis)) for axis in (rows, columns)]
        heat = {"row_label": axes[0], "column_label": axes[1]}
        charts.append(heatmap(f"heat-{name}", f"{axes[0].capitalize()} by {axes[1]}", label, *texts, values, **heat))
        charts += _alone(name, part, axes)
        lead = part["lead"]
        sentences.append(
            f"{axes[0].capitalize()} by {axes[1]}: validation chooses {part['best']}, whose lead on test is "
            f"{told(lead)}: {judged(lead)}. "
            "It was chosen among all cells by the same seeds' validation recall, so its p-value is not corrected for "
            "that choice."
        )
        tables.append(_cells(part, f"Cells of {name}"))
    if charts:
        budget = found["sources"]["margin-temperature"]["epochs"]
        sentences.insert(
            0,
            f"The budget is {budget} epochs a run, before any of these models has converged: what leads here learns "
            "faster, which "
            "need not be what ends higher (part a has the long runs).",
        )
    names = list(found["sensitivity"])
    return Section(
        "sensitivity", "b. Margin, temperature, alpha", sentences, source(found, *names), charts, folded=tables
    )


def _alone(name: str, part: dict[str, Any], axes: list[str]) -> list[Chart]:
    """A chart for each axis: its curves where the other axis has the paper's value."""
    paper = {"margin": 0.05, "temperature": 0.2, "alpha": 0.8}
    charts = []
    for axis, other in (axes, axes[::-1]):
        rows = [row for row in part["rows"] if row["axes"][other] == paper[other]]
        if len(rows) > 1:
            curves = {f"{axis} {amount(row['axes'][axis])}": row["curve"] for row in rows} | {"bpr": part["bpr"]}
            sentence = f"Test recall@20 by epoch, {other} {amount(paper[other])}: means and one standard deviation."
            charts.append(curve_chart(f"{name}-{axis}", f"{axis.capitalize()} alone", sentence, curves))
    return charts


def _cells(part: dict[str, Any], caption: str) -> Grid:
    head = ["cell", "seeds", "best valid recall@20", "test lead over BPR", "from", "to"]
    cells = [
        [
            row["cell"],
            str(row["lead"]["pairs"]),
            metric(row["valid"]),
            *(
                NONE if row["lead"][key] is None else difference(row["lead"][key])
                for key in ("difference", "low", "high")
            ),
        ]
        for row in part["rows"]
    ]
    return Grid(caption, head, cells)


def datasets(found: Findings) -> Section:
    charts, sentences, rows, differences = [], [], [], []
    for name, part in found["datasets"].items():
        if part is None:
            continue
        each = found["sources"][name]
        row = part["differences"][0]
        sentences.append(
            f"{name} ({each['sizes']['train']:,} train pairs), {each['epochs']} epochs: {means(row)} with BPR, "
            f"{told(row)}: {judged(row)}."
        )
        charts.append(
            curve_chart(
                f"{name}-curves", f"{name}: test recall@20", f"Budget: {each['epochs']} epochs.", part["curves"]
            )
        )
        rows += [[name, *cells] for cells in table(part["table"], "").rows]
        differences += part["differences"]
    tables = [Grid("Test metrics by data set", ["data set", *table([], "").head], rows)] if rows else []
    tables += [difference_table(differences, "Differences, in the order of the data sets")] if differences else []
    return Section("datasets", "c. Other data", sentences, source(found, *found["datasets"]), charts, tables=tables)
