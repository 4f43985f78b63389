"""Sections on parts d and e: who gains, and why."""

from typing import Any

import numpy as np
from differences import can_tell, verdict
from of_losses import curve_chart, difference_table, source
from wording import between, interval, judged, means, name_of, p_values, pairs_of, spread, told

from lgcn_jax.reporting.charts import Chart, Grid, Series, line_chart
from lgcn_jax.reporting.intervals import interval_chart
from lgcn_jax.reporting.numerals import NONE, amount, difference, metric
from lgcn_jax.reporting.numerals import percent as share
from lgcn_jax.reporting.sections import Section

Findings = dict[str, Any]
LABELS = {
    "coverage": "items in some list (coverage)",
    "average_popularity": "mean popularity of what is listed",
    "gini": "Gini coefficient of exposure",
    "novelty": "novelty, bits",
    "alignment": "alignment of train pairs (lower is closer)",
}


def gains(found: Findings) -> Section:
    part, name, title = found["gains"], "gains", "d. Who gains"
    if part is None:
        return Section(name, title, source(found, "losses"))
    seeds = part["users"][0]["pairs"]
    charts = [
        _groups("users", "Users by their number of items", "recall@20 of the users of each group", part["users"]),
        _groups(
            "items",
            "Items by their number of train users",
            "The share found of what is to be found in each group",
            part["items"],
        ),
    ]
    sentences = [
        f"Both losses' models of part a at the epochs that validation chose, {seeds} paired seeds. Users are in four "
        "groups of about equal "
        "interactions in all parts, items in ten groups of about equal train pairs.",
        *_named("Users with {} items", part["users"]),
        *_named("Items with {} users", part["items"]),
    ]
    rows = [_row(row) for row in part["lists"] + part["geometry"]]
    head = ["of the lists and the vectors", "BPR", "the paper's loss", "difference", "from", "to", "p (Holm)"]
    tables = [Grid("What is listed, and how the final vectors lie", head, rows)]
    remarks = [
        "Uniformity is log mean exp(-2 d^2) of unit vectors, alignment the mean squared distance of train pairs' unit "
        "vectors (Wang and "
        "Isola 2020). Length and degree: Spearman's correlation of a vector's length with its node's number of train "
        "pairs.",
        *source(found, "losses"),
    ]
    return Section(name, title, sentences, remarks, charts, tables=tables)


def _groups(kind: str, title: str, what: str, rows: list[dict[str, Any]]) -> Chart:
    drawn = [interval(row, f"{row['label']}: {metric(row['means'][0])} with BPR") for row in rows]
    sentence = f"{what}: the mean paired difference, the paper's loss less BPR, with its 95 % interval."
    return interval_chart(f"gains-{kind}", title, sentence, drawn, row_label="group")


def _named(template: str, rows: list[dict[str, Any]]) -> list[str]:
    """The groups whose difference can be told from chance; or, of too few seeds, those at both ends."""
    kind = template.split(" ")[0].lower()
    if not can_tell(rows[0]["pairs"], rows[0]["family size"]):
        ends = [
            f"{template.format(row['label'])} {difference(row['difference'])} ({between(row)})" for row in ends_of(rows)
        ]
        few = f"{pairs_of(rows[0])} are too few to test {len(rows)} groups of {kind} at once."
        return [f"{few} With intervals that are not corrected: {'; '.join(ends)}."]
    sure = [row for row in rows if verdict(row) in ("better", "worse")]
    texts = [f"{template.format(row['label'])}: {told(row)}, {judged(row)}." for row in sure]
    return texts or [f"Of no group of {kind} can the difference be told from chance."]


def ends_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first and the last row, if they have intervals."""
    return [row for row in (rows[0], rows[-1]) if row["low"] is not None]


def _row(row: dict[str, Any]) -> list[str]:
    edges = [NONE if row[end] is None else amount(row[end]) for end in ("difference", "low", "high")]
    return [LABELS.get(row["metric"], row["metric"]), *map(amount, row["means"]), *edges, p_values(row)[1]]


def reasons(found: Findings) -> Section:
    identities, sentences, charts, tables, remarks = found["identities"], [], [], [], []
    if identities:
        sentences.append(
            "With one negative, the two-way log-softmax at temperature T is softplus(-x / T) of the lead x = pos - "
            "neg: BPR with scores divided "
            "by T. So the loss is a softplus(m - x) + (1 - a) softplus(-x / T), and it contrasts no more than BPR "
            "does."
        )
        rows = [[check["claim"], f"{check['largest difference']:.2e}"] for check in identities["checks"]]
        head = ["identity of gradients", "largest difference, relative"]
        tables.append(Grid("Checked on the library's own terms, in float32", head, rows, numeric=False))
        charts.append(_weights(identities["weights"]))
        remarks.append(
            "Source: experiments/study/results/identities.json, made by python experiments/study/identities.py."
        )
    sentences += _hard(found)
    for add in (_absorbed, _contrasts):
        more = add(found)
        sentences += more[0]
        charts += more[1]
        tables += more[2]
    return Section(
        "reasons", "e. Why", sentences, [*remarks, *source(found, "absorbed", "contrasts")], charts, tables=tables
    )


def _weights(weights: dict[str, list[float]]) -> Chart:
    lead = np.array(weights["lead"])
    drawn = [Series(name_of(key), lead, np.array(weights[key])) for key in ("bpr", "both", "margin", "contrast")]
    sentence = (
        "With what weight a pair is pulled apart, by how far its positive item is ahead already (the loss' slope)."
    )
    return line_chart(
        "weights", "Weights of easy and hard pairs", sentence, drawn, x_label="lead of the positive item", show=amount
    )


def _hard(found: Findings) -> list[str]:
    leads = (found["gains"] or {}).get("leads")
    if not leads or "both" not in leads:
        return []
    texts = [
        f"{share(leads[key]['hard'])} of pairs with {name_of(key)} are ranked the wrong way" for key in ("bpr", "both")
    ]
    middle = [f"{amount(round(leads[key]['quantiles'][50], 4))}" for key in ("bpr", "both")]
    return [
        f"In the trained models of part a {texts[0]} and {texts[1]}; the median lead is {middle[0]} and {middle[1]}."
    ]


def _absorbed(found: Findings) -> tuple[list[str], list[Chart], list[Grid]]:
    if (part := found["absorbed"]) is None:
        return [], [], []
    head = ["margin and L2", "seeds", "test recall@20", "sd", "median lead", "length of users", "length of items"]
    rows = [
        [
            row["condition"],
            str(row["seeds"]),
            metric(row["recall@20"]["mean"]),
            spread(row["recall@20"]["sd"]),
            *(
                amount(float(f"{row[key]:.4g}"))
                for key in ("median lead", "mean length of users", "mean length of items")
            ),
        ]
        for row in part["rows"]
    ]
    said = "A margin asks for a larger lead, and longer vectors give one: the table has both for each margin."
    return [said], [], [Grid("The margin term alone (alpha 1), with and without L2", head, rows)]


def _contrasts(found: Findings) -> tuple[list[str], list[Chart], list[Grid]]:
    if (part := found["contrasts"]) is None:
        return [], [], []
    said = [
        "Against the in-batch softmax, step by step: each row changes one thing. 2,048 uniform negatives and in-batch "
        "ones are equally many; "
        "they differ in how popular they are.",
        *(
            f"From {row['first']} to {row['second']}: {means(row)}, {told(row)}: {judged(row)}."
            for row in part["steps"]
        ),
    ]
    chart = interval_chart(
        "contrast-steps",
        "What the softmax' gain is made of",
        "Paired differences in test recall@20, each at the epoch that validation chose.",
        [interval(row, f"{row['first']} to {row['second']}") for row in part["steps"]],
        row_label="step",
    )
    curves = curve_chart(
        "contrast-curves",
        "Softmax against BPR",
        "Test recall@20 by epoch: means and one standard deviation.",
        _few(part["curves"]),
    )
    return said, [chart, curves], [difference_table(part["steps"], "Steps from BPR to the in-batch softmax")]


def _few(curves: dict[str, Any]) -> dict[str, Any]:
    """As many as can be told apart."""
    kept = [
        n
        for n in ("cosine, in-batch", "bpr", "cosine, 2,048 uniform", "dot, 2,048 uniform", "cosine, 1 uniform")
        if n in curves
    ]
    return {name: curves[name] for name in kept}
