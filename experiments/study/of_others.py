"""Sections on parts f and g, on what was done, and on what it does not say."""

from typing import Any

from of_losses import difference_table, lead_chart, source
from wording import interval, judged, means, name_of, spread, told

from lgcn_jax.reporting.charts import Grid
from lgcn_jax.reporting.intervals import interval_chart
from lgcn_jax.reporting.numerals import NONE, difference, metric, seconds
from lgcn_jax.reporting.sections import Section

Findings = dict[str, Any]


def samplers(found: Findings) -> Section:
    part, name, title = found["samplers"], "samplers", "f. Is this LightGCN-PyTorch, in distribution?"
    if part is None:
        return Section(name, title, source(found, name))
    reference = found["reference"]["published sampler"]
    head = ["loss, epoch", "published code's draws", "sd", "--sampler=published", "sd", "ahead by", "standard error"]
    head += ["--sampler=user", "sd", "ahead by", "standard error"]
    rows = []
    for row in part["rows"]:
        cells = [f"{row['loss']}, {row['epoch']}", metric(row["replayed"]["mean"]), spread(row["replayed"]["sd"])]
        for sampler in ("published", "user"):
            if sampler not in row:
                cells += [NONE] * 4
                continue
            gap = row[f"{sampler} same seeds"]
            error = NONE if gap["standard error"] is None else metric(gap["standard error"])
            cells += [metric(row[sampler]["mean"]), spread(row[sampler]["sd"]), difference(gap["difference"]), error]
        rows.append(cells)
    charts = []
    for key, lead in part["leads"].items():
        title_of_chart = f"The default sampler over the published one, {name_of(key.rpartition(' ')[2])}"
        file = f"samplers-{key.replace(' ', '-')}"
        charts.append(lead_chart(file, title_of_chart, {key: lead}, "paired seeds", "the default sampler"))
    charts += [
        lead_chart(
            f"samplers-{sampler}-both", f"The paper's loss over BPR, sampler {sampler}", {"both": lead}, "paired seeds"
        )
        for sampler, lead in part["both"].items()
    ]
    sentences = [
        "The published sampler draws as many users as there are train pairs, skips those without an item and ends in "
        "a short batch; the "
        "default draws only users with one, so its epochs are full. Both draw from the same distribution within a "
        "batch. All train pairs "
        "are trained on, as in the published code.",
        f"Beside them stand {len(reference['seeds'])} runs of this train step on LightGCN-PyTorch's own triples and "
        "initial tables "
        "(test recall@20). They share no random number with the others, so the difference is of means, with its "
        "standard error.",
        *(_what_is_left(part["rows"], sampler) for sampler in ("published", "user")),
    ]
    remarks = [f"Published sampler: {reference['source']}.", *source(found, name)]
    return Section(name, title, sentences, remarks, charts, tables=[Grid("Test recall@20 by epoch", head, rows)])


def _what_is_left(rows: list[dict[str, Any]], sampler: str) -> str:
    """How far the runs with a sampler are from those on the published code's draws: at the end, and at most."""
    gaps = [(row, row[f"{sampler} same seeds"]) for row in rows if sampler in row]
    gaps = [(row, gap) for row, gap in gaps if gap["standard error"]]
    if not gaps:
        return f"--sampler={sampler} has too few runs for a standard error."
    last = [(row, gap) for row, gap in gaps if row["epoch"] == max(row["epoch"] for row, _ in gaps)]
    ends = " and ".join(f"{difference(gap['difference'])} with {name_of(row['loss'])}" for row, gap in last)
    row, gap = max(gaps, key=lambda each: abs(each[1]["difference"]) / each[1]["standard error"])
    errors = f"{gap['difference'] / gap['standard error']:.1f}"
    return (
        f"--sampler={sampler} is ahead of the published code's draws by {ends} at epoch {last[0][0]['epoch']}; in "
        f"standard errors at most by {errors}, at epoch {row['epoch']} with {name_of(row['loss'])} "
        f"({difference(gap['difference'])})."
    )


def models(found: Findings) -> Section:
    charts, sentences, tables = [], [], []
    for name, part in found["models"].items():
        if part is None:
            continue
        dataset, epochs = (found["sources"][name][key] for key in ("dataset", "epochs"))
        rows = [row for row in part["differences"] if row["metric"] == "recall@20"]
        sentences += [
            f"{row['first'].rpartition(' ')[0]} on {dataset}, {epochs} epochs: {means(row)} with BPR, {told(row)}: "
            f"{judged(row)}."
            for row in rows
        ]
        title, sentence = (
            f"Other models on {dataset}",
            f"The paper's loss less BPR, test recall@20, {epochs} epochs a run.",
        )
        drawn = [interval(row, row["first"].rpartition(" ")[0]) for row in rows]
        charts.append(interval_chart(f"{name}-differences", title, sentence, drawn, row_label="model"))
        tables.append(difference_table(part["differences"], f"Differences on {dataset}"))
    return Section("models", "g. Other models", sentences, source(found, *found["models"]), charts, tables=tables)


def methods(found: Findings) -> Section:
    sentences = [
        "Settings are LightGCN-PyTorch's defaults where nothing else is said: 3 layers, d 64, Adam at 1e-3, l2 1e-4, "
        "batches of 2,048, tables "
        "drawn from N(0, 0.1), one uniform negative. The paper's loss has margin 0.05, temperature 0.2 and alpha 0.8. "
        "All items are ranked; "
        "train items, and validation items where there are any, are left out of the lists.",
        "One training gives both curves: a tenth of each user's train items is held out (rounded down, drawn once), "
        "the run is evaluated on it, "
        "and the same parameters are evaluated on the test part. The epoch is the one with the best recall@20 on "
        "validation. Parts that follow "
        "the paper's protocol are trained on all train pairs instead.",
        "Runs with the same seed have the same initial table and the same triples whatever the loss, so differences "
        "are paired. Intervals are "
        "95 % percentile bootstrap intervals of the mean difference, p-values those of the Wilcoxon signed-rank test "
        "(two-sided, Pratt's zeros), "
        "corrected by Holm's method within each table's family. With five pairs or fewer that test cannot fall below "
        "5 %, and intervals of "
        "so few pairs are too narrow: such differences are called too few, whatever they look like.",
    ]
    head = ["experiment", "data set", "runs", "epochs", "held out", "seconds of training", "commit", "command"]
    rows = [
        [
            name,
            each["dataset"],
            f"{each['runs']} ({_seeds(each)})",
            f"{each['epochs']}, every {each['eval_every']}",
            f"{each['held_out']:g}",
            seconds(each["seconds"]),
            ", ".join(each["commits"]),
            each["command"],
        ]
        for name, each in found["sources"].items()
    ]
    machines = sorted({cpu for each in found["sources"].values() for cpu in each["cpu"]})
    versions = sorted({jax for each in found["sources"].values() for jax in each["jax"]})
    remarks = [
        f"Machine: {'; '.join(machines)}; JAX {', '.join(versions)}. It was shared with other work, so seconds are no "
        "measure of speed.",
        "Files are in experiments/study/results; a command that is run again keeps what is finished and makes what is "
        "missing. "
        "All numbers of this page stand in experiments/study/findings.json, which experiments/study/report.py makes "
        "of them.",
    ]
    tables = [Grid("What was run", head, rows, numeric=False)]
    return Section("methods", "What was done", sentences, remarks, tables=tables)


def _seeds(each: dict[str, Any]) -> str:
    """How many seeds the conditions have: 10 each, or from 2 to 10."""
    counts = sorted(set(each["planned seeds"].values()))
    return f"{counts[0]} each" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} each"


def limits(found: Findings) -> Section:
    remarks = [
        "Budgets are small where the table above says so. The full run of Gowalla, 1,000 epochs of about five hours "
        "on two cores, was not "
        "made; nothing here says what either loss reaches there.",
        "One split of each data set: intervals are about seeds, and about users where it is said, not about other "
        "splits.",
        "Learning rate and L2 are those of BPR for both losses, as in the paper; a loss whose gradient is larger "
        "might want others.",
        "The validation part is a random part of the train part, and smaller than the test part, so the chosen epoch "
        "is noisy; both losses "
        "are chosen in the same way.",
        "Adam makes a step nearly independent of the gradient's size, so a temperature is no mere learning rate; what "
        "remains of the "
        "loss' scale is its weight against L2, and how weights are spread over pairs.",
    ]
    return Section("limits", "What this does not say", remarks=remarks)
