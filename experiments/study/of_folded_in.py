"""Section on part d: users whom no training has seen, folded in."""

from typing import Any

from of_losses import difference_table, source
from records import METRICS
from wording import interval, judged, means, name_of, spread, told

from lgcn_jax.reporting.charts import Chart, Grid
from lgcn_jax.reporting.intervals import interval_chart
from lgcn_jax.reporting.numerals import NONE, metric, percent
from lgcn_jax.reporting.sections import Section

Findings = dict[str, Any]
FOLDED, TRAINED = "folded in", "trained on"


def folded_in(found: Findings) -> Section:
    part, name, title = found["folded in"], "folded-in", "d. Users who are folded in"
    if part is None:
        return Section(name, title, source(found, name))
    row, users, others = part["differences"][0], part["users"][0], part["trained on"][0]
    sentences = [
        f"{part['left out']['users']:,} users, {percent(part['left out']['share'])} of those with train and test "
        f"items, drawn once (seed {part['left out']['seed']}), are in no part of any of these trainings: not in the "
        "graph, not in the batches, not in the validation part, which chooses the epoch. Then each of them gets a "
        "vector, by one product with the embeddings of their train items and without a step of training "
        "(lgcn_jax/graph/fold_in.py), and is evaluated on the test part like all others.",
        f"Folded in: {means(row)} with BPR, {told(row)}: {judged(row)}.",
        f"User by user, means over the seeds: {told(users)}: {judged(users)}; {users['higher']:,} users gain, "
        f"{users['lower']:,} lose.",
        f"The users who are trained on, in the same runs: {means(others)} with BPR, {told(others)}: {judged(others)}.",
        f"By popularity alone the users folded in would have {metric(part['popularity']['recall@20'])}.",
    ]
    remarks = [
        "Those folded in and those trained on are other users, so their recalls do not say what folding in costs; the "
        "left-out users were not trained on with this budget.",
        *source(found, name),
    ]
    tables = [
        _table(part),
        difference_table([*part["differences"], *part["users"]], "Differences of the users folded in"),
        difference_table(part["trained on"], "Differences of the users trained on"),
    ]
    return Section(name, title, sentences, remarks, [_chart(row, users, others)], tables=tables)


def _chart(row: dict[str, Any], users: dict[str, Any], others: dict[str, Any]) -> Chart:
    rows = ((row, "folded in, by seed"), (users, "folded in, by user"), (others, "trained on, by seed"))
    return interval_chart(
        "folded-in-differences",
        "Folded in, and trained on",
        "Paired differences in test recall@20, the paper's loss less BPR, with their 95 % intervals; a ring for each "
        "seed.",
        [interval(each, label) for each, label in rows],
        row_label="users",
    )


def _table(part: dict[str, Any]) -> Grid:
    """Test metrics of both kinds of users as mean and standard deviation."""
    head = ["users, loss", "seeds", "recall@20", "sd", "ndcg@20", "sd"]
    both = [(FOLDED, row) for row in part["table"]] + [(TRAINED, row) for row in part["trained on, table"]]
    cells = [
        [
            f"{users}, {name_of(row['condition'])}",
            str(row["seeds"]),
            *(f(row[key][of]) for key in METRICS for f, of in ((metric, "mean"), (spread, "sd"))),
        ]
        for users, row in both
    ]
    popularity = [cell for key in METRICS for cell in (metric(part["popularity"][key]), NONE)]
    cells.append([f"{FOLDED}, popularity", NONE, *popularity])
    return Grid("Test metrics at the epochs that validation chose", head, cells)
