"""The first page: does the loss help, where, and how sure is it? And the same in Chinese."""

from typing import Any

from differences import can_tell, verdict
from parts import EXPERIMENTS
from wording import (
    between,
    interval,
    judged,
    listed,
    means,
    name_of,
    pairs_of,
    percent,
    told,
)

from lgcn_jax.reporting.charts import Chart
from lgcn_jax.reporting.intervals import interval_chart
from lgcn_jax.reporting.numerals import difference, metric
from lgcn_jax.reporting.sections import Section

Findings = dict[str, Any]
EARLY = 100  # the epoch that is called early

PLAIN = {
    "better": "Yes, on LastFM, by a little",
    "worse": "No: on LastFM it does harm",
    "unclear": "No gain at the end of training can be shown",
    "too few": "It cannot be said yet: there are too few seeds",
}


def main_difference(found: Findings, condition: str = "both") -> dict[str, Any] | None:
    """Recall@20 of part a at the epochs that validation chose."""
    rows = (found["losses"] or {}).get("differences", [])
    return next((row for row in rows if (row["second"], row["metric"]) == (condition, "recall@20")), None)


def lead(found: Findings) -> str:
    """The plain answer in one sentence."""
    main = main_difference(found)
    if main is None:
        return "Part a has no results yet, and without them there is no answer."
    return (
        f"{PLAIN[verdict(main)]}{_leaning(main)}. On LastFM, with the epoch chosen on validation data, LightGCN with "
        f"the paper's loss has a test recall@20 of {means(main)} with BPR: {told(main)}."
    )


def _leaning(main: dict[str, Any]) -> str:
    """Where the interval lies, of a difference that the test does not tell from chance."""
    if verdict(main) != "unclear" or main["low"] <= 0 <= main["high"]:
        return ""
    return f"; if anything it ends {'lower' if main['high'] < 0 else 'higher'}"


def section(found: Findings) -> Section:
    rows = primary(found)
    remarks = [
        *_speed(found),
        *_parts(found),
        *_printed(found),
        *_elsewhere(found),
        *_users(found),
        *_folded_in(found),
        *_sure(found),
        *missing(found),
    ]
    charts = [_forest(rows)] if rows else []
    return Section("answer", "The answer", remarks=remarks, charts=charts)


def _forest(rows: list[tuple[str, dict[str, Any]]]) -> Chart:
    return interval_chart(
        "primary",
        "The paper's loss against BPR: recall@20",
        "Each row is the mean difference on the test part with its 95 % interval, and a ring for each pair of seeds; "
        "right "
        "of the line the paper's loss is ahead. Epochs are those that validation data chose unless the row says "
        "otherwise.",
        [interval(row, label) for label, row in rows],
        row_label="where",
    )


def primary(found: Findings) -> list[tuple[str, dict[str, Any]]]:
    """The differences of the first page: label and difference, of recall@20."""

    def recall(part: dict[str, Any] | None) -> list[dict[str, Any]]:
        return [row for row in (part or {}).get("differences", []) if row["metric"] == "recall@20"]

    rows = [("LastFM", row) for row in recall(found["losses"]) if row["second"] == "both"]
    names = {"test": "LastFM, epoch chosen on test", "epoch 480": "LastFM, epoch 480"}
    rows += [(names[row["protocol"]], row) for row in paper_protocol(found)]
    rows += [
        (f"{name}, {epochs(found, name)}", row) for name, part in found["datasets"].items() for row in recall(part)
    ]
    for name, part in found["models"].items():
        dataset = found["sources"].get(name, {}).get("dataset", "")
        rows += [(f"{row['first'].rpartition(' ')[0]}, {dataset}", row) for row in recall(part)]
    return rows


def epochs(found: Findings, name: str) -> str:
    count = found["sources"][name]["epochs"]
    return f"{count} epoch{'' if count == 1 else 's'}"


def at(lead: dict[str, list], epoch: int) -> dict[str, Any]:
    """The lead at the first evaluation from this epoch on, or at the last one."""
    place = next((n for n, each in enumerate(lead["epoch"]) if each >= epoch), len(lead["epoch"]) - 1)
    return {name: column[place] for name, column in lead.items()}


def _speed(found: Findings) -> list[str]:
    leads = (found["losses"] or {}).get("leads", {})
    main = main_difference(found)
    if "both" not in leads or main is None:
        return []
    early, last = at(leads["both"], EARLY), at(leads["both"], 10**9)
    if not can_tell(main["pairs"]):
        how = "Speed"
    elif early["low"] <= 0:
        how = "No lead in speed can be shown"
    elif last["low"] > 0:
        how = "It learns faster, and the lead shrinks" if last["mean"] < early["mean"] else "It learns faster"
    else:
        how = "It learns faster, and the lead is gone at the end"
    texts = [
        f"{difference(each['mean'])} at epoch {each['epoch']} (ahead in {each['ahead']} of {pairs_of(main)}"
        f"{'' if each['low'] is None else ', ' + between(each)})"
        for each in (early, last)
    ]
    return [f"{how}: the mean lead in test recall@20 is {listed(texts)}."]


def _parts(found: Findings) -> list[str]:
    rows = [(name, main_difference(found, name)) for name in ("margin", "contrast")]
    known = [f"{name_of(name)} {told(row)}: {judged(row)}" for name, row in rows if row]
    return [f"Which part: {'; '.join(known)}."] if known else []


def _printed(found: Findings) -> list[str]:
    rows = paper_protocol(found)
    if not rows:
        return []
    names = {"test": "the epoch that is best on the test part", "epoch 480": "epoch 480, which the paper prints"}
    texts = [f"at {names[row['protocol']]}, {told(row)}: {judged(row)}" for row in rows]
    printed = difference(found["reference"]["paper"]["difference"])
    on = "all train pairs" if found["printed"] else "nine tenths of the train pairs"
    text = f"By the paper's own ways of choosing an epoch, on models of {on}: {'; '.join(texts)}."
    return [f"{text} The paper printed {printed}, of one seed."]


def paper_protocol(found: Findings) -> list[dict[str, Any]]:
    """Recall@20 where the test part, or the paper, chose the epoch: of all train pairs if there are such runs."""
    rows = (found["printed"] or {}).get("differences", [])
    if not rows and found["losses"]:
        rows = found["losses"]["on test"] + found["losses"]["at 480"]
    return [row for row in rows if (row["second"], row["metric"]) == ("both", "recall@20")]


def _elsewhere(found: Findings) -> list[str]:
    rows = [(label, row) for label, row in primary(found) if not label.startswith("LastFM")]
    if not rows:
        return []
    texts = []
    for kind, words in _KIND.items():
        if own := [f"{label} {difference(row['difference'])}" for label, row in rows if verdict(row) == kind]:
            texts.append(f"{words}: {listed(own)}")
    known = [found["sources"][name] for name in (*found["datasets"], *found["models"]) if name in found["sources"]]
    rising, runs = (sum(each[key] for each in known) for key in ("rising", "runs"))
    late = (
        f" {rising} of these {runs} runs were still rising when their budget ended: a lead there may be one of speed."
    )
    late = late if rising else ""
    return [f"On other data and with other models, {'; '.join(texts)}.{late}"]


_KIND = {
    "better": "higher beyond chance",
    "worse": "lower beyond chance",
    "unclear": "not to be told from chance",
    "too few": "with too few seeds for a test",
}


def _users(found: Findings) -> list[str]:
    rows = [row for row in (found["losses"] or {}).get("users", []) if row["second"] == "both"]
    return [
        f"User by user, means over the seeds: {told(row)}; {row['higher']:,} users gain, {row['lower']:,} lose. "
        "The test asks whether as many gain as lose, the interval how much on average; both are of these models alone."
        for row in rows
    ]


def _folded_in(found: Findings) -> list[str]:
    if (part := found["folded in"]) is None:
        return []
    row, users = part["differences"][0], part["users"][0]
    whom = f"{part['left out']['users']:,} users on LastFM whom no training has seen, folded in by their items"
    return [
        f"Of {whom} ({epochs(found, 'folded-in')}): test recall@20 {means(row)} with BPR, {told(row)}: {judged(row)}. "
        f"User by user, means over the seeds: {told(users)}: {judged(users)}."
    ]


def _sure(found: Findings) -> list[str]:
    main = main_difference(found)
    if main is None:
        return []
    low, high = main["relative"][1:]
    size = ""
    if can_tell(main["pairs"]):
        size = f" Over seeds, the effect at the end is {percent(low)} to {percent(high)} of BPR's recall."
    flatters = found["losses"]["selection"]["bpr"]["mean"]
    about = f"{main['pairs']} paired seeds, one data split, one setting of the learning rate and L2"
    paper = difference(found["reference"]["paper"]["difference"])
    picked = f"Choosing the epoch on the test part, as the paper does, adds {metric(flatters)} to BPR's mean recall"
    return [f"How sure: {about}.{size} {picked}; the paper's printed difference is {paper}."]


def missing(found: Findings) -> list[str]:
    """What was planned and has no result yet, or fewer seeds than planned."""
    none = [name for name in EXPERIMENTS if name not in found["sources"]]
    short = [
        name for name, each in found["sources"].items() if set(each["planned seeds"].values()) != {each["of seeds"]}
    ]
    texts = [f"without results: {', '.join(none)}"] if none else []
    texts += [f"with fewer seeds than planned: {', '.join(short)}"] if short else []
    return [f"Not done yet, {'; '.join(texts)}. Nothing is said here of what has no results."] if texts else []
