"""All that the report says in numbers, made from the files of results alone.

Each part is a function of what files there are; it gives None where its files are missing.
"""

import json
from pathlib import Path
from typing import Any

import differences
import numpy as np
import records
from differences import Files, Found, Results, by_seed, by_user, corrected, family, lead_by_epoch, mean_curve, table_of
from gains import folded_in, gains
from parts import EXPERIMENTS, REFERENCE_EPOCH

Findings = dict[str, Any]

REFERENCE = Path(__file__).parent / "reference.json"
PRINTED = f"epoch {REFERENCE_EPOCH}"


def read_all(folder: Path) -> tuple[Files, dict[str, Any] | None]:
    """The files of results of a folder by name, and what identities.py found."""
    paths = [path for path in sorted(folder.glob("*.json")) if path.stem not in ("identities", "findings")]
    found = {path.stem: Results(records.read(path)) for path in paths}
    identities = folder / "identities.json"
    return found, json.loads(identities.read_text(encoding="utf-8")) if identities.exists() else None


def findings(files: Files, identities: dict[str, Any] | None) -> dict[str, Any]:
    """Every part, and where its numbers come from."""
    return {
        "reference": reference(),
        "sources": {name: source(results) for name, results in files.items()},
        "losses": losses(files),
        "printed": printed(files),
        "sensitivity": {name: sensitivity(files, name) for name in ("margin-temperature", "alpha-temperature")},
        "datasets": {name: two_losses(files, name) for name in ("ml-100k", "gowalla", "yelp2018")},
        "gains": gains(files),
        "folded in": folded_in(files),
        "contrasts": contrasts(files),
        "absorbed": absorbed(files),
        "identities": identities,
        "samplers": samplers(files),
        "models": {name: models(files, name) for name in ("models-lastfm", "models-ml-100k")},
    }


def reference() -> dict[str, Any]:
    """What the paper printed and the published code gave, with the paper's difference."""
    found = json.loads(REFERENCE.read_text(encoding="utf-8"))
    paper = found["paper"]
    paper["difference"] = round(paper["both"]["recall@20"] - paper["baseline"]["recall@20"], 8)
    return found


def written(found: Findings) -> str:
    """The file of findings: numbers with seven digits, which is more than the page shows."""
    return records.written(_rounded(found))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def source(results: Results) -> dict[str, Any]:
    """What a file holds, of which command, and what it took."""
    found, runs = results.found, [run for name in results.conditions for run in results.runs(name).values()]
    used = [found["environments"][number] for number in sorted({run["environment"] for run in runs})]
    settings = next(iter(found["conditions"].values()))
    return {
        "file": f"experiments/study/results/{results.name}.json",
        "command": found["command"],
        "question": found["question"],
        "dataset": found["dataset"],
        "runs": len(runs),
        "planned seeds": {name: len(results.seeds(name)) for name in found["conditions"]},
        "of seeds": len(EXPERIMENTS[results.name].seeds) if results.name in EXPERIMENTS else 0,
        "epochs": settings["epochs"],
        "eval_every": settings["eval_every"],
        "held_out": found["held_out"],
        "seconds": round(sum(run["seconds"] for run in runs)),
        "rising": differences.still_rising(results)["rising"],
        "commits": sorted({(each["commit"] or "none")[:12] for each in used}),
        "jax": sorted({each["jax"] for each in used}),
        "cpu": sorted({f"{each['cpu']}, {each['cpu_cores']} cores" for each in used}),
        "content": sorted({each["dataset"]["content_sha256"][:12] for each in used}),
        "sizes": {name: used[-1]["dataset"][name] for name in ("users", "items", "train", "valid", "test")}
        if used
        else {},
    }


def losses(files: Files) -> Found:
    """Part a: which part of the loss helps."""
    if (results := files.get("losses")) is None or "bpr" not in results.conditions:
        return None
    pairs = [("bpr", other) for other in ("both", "margin", "contrast") if other in results.conditions]
    users = [by_user(results, *pair) for pair in pairs if results.seeds(*pair)]
    return {
        "table": table_of(results, ("valid", "test", PRINTED, "last")),
        "differences": family(results, pairs, "valid"),
        "on test": family(results, pairs, "test"),
        "at 480": family(results, pairs, PRINTED) if results.has(PRINTED) else [],
        "users": corrected(users, "losses, valid, users"),
        "curves": {name: mean_curve(results, name, "test") for name in results.conditions},
        "leads": {second: lead_by_epoch(results, "bpr", second) for _, second in pairs},
        "selection": _selection(results),
    }


def _selection(results: Results) -> dict[str, Any]:
    """By how much the epoch that is best on test flatters: its recall over that of the epoch that valid chose."""
    gap = {
        n: results.chosen(n, "test", "recall@20") - results.chosen(n, "valid", "recall@20") for n in results.conditions
    }
    return {name: differences.summary(values) for name, values in gap.items()}


def printed(files: Files) -> Found:
    """The paper's own protocol: all train pairs, the epoch chosen on the test part, or 480."""
    if (results := files.get("printed")) is None or not results.seeds("bpr", "both"):
        return None
    protocols = [each for each in ("test", PRINTED) if results.has(each)]
    return {
        "table": table_of(results, (*protocols, "last")),
        "differences": [row for each in protocols for row in family(results, [("bpr", "both")], each)],
        "curves": {name: mean_curve(results, name, "test") for name in results.conditions},
        "lead": lead_by_epoch(results, "bpr", "both"),
    }


def sensitivity(files: Files, name: str) -> Found:
    """Part b: the mean lead of every cell over BPR, and that of the cell that the validation part chooses."""
    results = files.get(name)
    if results is None or not (cells := [each for each in results.conditions if each != "bpr"]):
        return None
    base, rows = files.get("margin-temperature"), []
    if base is None or "bpr" not in base.conditions:
        return None
    joined = Results(
        results.found | {"conditions": results.found["conditions"] | {"bpr": base.found["conditions"]["bpr"]}}
    )
    joined.found["runs"] = [*results.found["runs"], *(run for run in base.runs("bpr").values() if results is not base)]
    for cell in cells:
        axes = {key: float(value) for key, value in (part.split("=") for part in cell.split())}
        valid = joined.curves(cell, "valid", "recall@20").max(1).mean()
        lead = by_seed(joined, "bpr", cell, "valid", "recall@20")
        curve = mean_curve(joined, cell, "test")
        rows.append({"cell": cell, "axes": axes, "valid": float(valid), "lead": lead, "curve": curve})
    leads = corrected([row["lead"] for row in rows], f"cells of {name}")
    rows = [row | {"lead": lead} for row, lead in zip(rows, leads, strict=True)]
    best = max(rows, key=lambda row: row["valid"])
    return {"rows": rows, "best": best["cell"], "lead": best["lead"], "bpr": mean_curve(joined, "bpr", "test")}


def two_losses(files: Files, name: str) -> Found:
    """Part c: both losses on another data set."""
    if (results := files.get(name)) is None or not results.seeds("bpr", "both"):
        return None
    pair = [("bpr", "both")]
    return {
        "table": table_of(results, ("valid", "test", "last")),
        "differences": family(results, pair, "valid"),
        "curves": {condition: mean_curve(results, condition, "test") for condition in results.conditions},
        "lead": lead_by_epoch(results, "bpr", "both"),
    }


def contrasts(files: Files) -> Found:
    """Part e: which part of the softmax's gain is due to what."""
    if (results := files.get("contrasts")) is None or "bpr" not in results.conditions:
        return None
    steps = (
        ("bpr", "dot, 1 uniform"),
        ("dot, 1 uniform", "dot, 2,048 uniform"),
        ("dot, 2,048 uniform", "dot, in-batch"),
        ("dot, 1 uniform", "cosine, 1 uniform"),
        ("cosine, 1 uniform", "cosine, 2,048 uniform"),
        ("dot, 2,048 uniform", "cosine, 2,048 uniform"),
        ("cosine, 2,048 uniform", "cosine, in-batch"),
        ("bpr", "cosine, in-batch"),
    )
    return {
        "table": table_of(results, ("valid",)),
        "steps": family(results, steps, "valid", ("recall@20",)),
        "curves": {name: mean_curve(results, name, "test") for name in results.conditions},
    }


def absorbed(files: Files) -> Found:
    """Part e: what a margin does to scores and vectors, with and without L2."""
    if (results := files.get("absorbed")) is None:
        return None
    rows = []
    for condition in results.conditions:
        runs = list(results.runs(condition).values())
        row = {"condition": condition, "seeds": len(runs)}
        row["recall@20"] = differences.summary(results.chosen(condition, "valid", "recall@20"))
        row["median lead"] = float(np.mean([run["portrait"]["leads"][50] for run in runs]))
        for key in ("mean length of users", "mean length of items"):
            row[key] = float(np.mean([run["portrait"]["geometry"][key] for run in runs]))
        rows.append(row)
    return {"rows": rows}


def samplers(files: Files) -> Found:
    """Part f: the published sampler, the default one, and the published code's own triples."""
    if (results := files.get("samplers")) is None:
        return None
    replayed = reference()["published sampler"]
    rows = []
    for loss in ("bpr", "both"):
        for place, epoch in enumerate(replayed["epochs"]):
            row: dict[str, Any] = {"loss": loss, "epoch": epoch}
            row["replayed"] = differences.summary(np.array(replayed[loss])[:, place])
            for sampler in ("published", "user"):
                if (name := f"{sampler} {loss}") in results.conditions:
                    at = results.epochs(name).index(epoch)
                    row[sampler] = differences.summary(results.curves(name, "test", "recall@20")[:, at])
                    row[f"{sampler} same seeds"] = _same_seeds(results, name, replayed, loss, place, at)
            rows.append(row)
    pairs = [(f"published {loss}", f"user {loss}") for loss in ("bpr", "both")]
    known = [pair for pair in pairs if set(pair) <= set(results.conditions)]
    return {
        "rows": rows,
        "leads": {second: lead_by_epoch(results, first, second) for first, second in known},
        "curves": {name: mean_curve(results, name, "test") for name in results.conditions},
        "both": {
            sampler: lead_by_epoch(results, f"{sampler} bpr", f"{sampler} both")
            for sampler in ("published", "user")
            if {f"{sampler} bpr", f"{sampler} both"} <= set(results.conditions)
        },
    }


def _same_seeds(results: Results, name: str, replayed: dict, loss: str, place: int, at: int) -> Found:
    """How far runs are ahead of the replayed ones on average: of other random numbers, so not paired."""
    ours = results.curves(name, "test", "recall@20")[:, at]
    theirs = np.array(replayed[loss])[:, place]
    error = float(np.hypot(*(v.std(ddof=1) / np.sqrt(len(v)) for v in (ours, theirs)))) if len(ours) > 1 else None
    return {"difference": float(ours.mean() - theirs.mean()), "standard error": error, "runs": len(ours)}


def models(files: Files, name: str) -> Found:
    """Part g: both losses on each model."""
    if (results := files.get(name)) is None:
        return None
    known = sorted({condition.rpartition(" ")[0] for condition in results.conditions})
    pairs = [(f"{model} bpr", f"{model} both") for model in known]
    return {"table": table_of(results, ("valid",)), "differences": family(results, pairs, "valid")}
