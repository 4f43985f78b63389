"""Part d in numbers: whom and what the loss changes, of users who are trained on and of those who are folded in."""

from typing import Any

import numpy as np
from differences import (
    Files,
    Found,
    Results,
    by_user,
    corrected,
    difference_of,
    family,
    per_seed,
    summary,
    table_of,
)
from records import METRICS

PAIR = ("bpr", "both")


def gains(files: Files) -> Found:
    """Part d: whom and what the loss changes, of the models of part a at the epochs that validation chose."""
    results = files.get("losses")
    if results is None or not results.seeds("bpr", "both"):
        return None
    first = next(iter(results.runs("bpr").values()))["portrait"]
    users = [_group(results, "user_groups", "recall@20", place) for place in range(len(first["user_groups"]["up_to"]))]
    items = [_group(results, "item_groups", "found@20", place) for place in range(len(first["item_groups"]["up_to"]))]
    shares = [_group(results, "item_groups", "exposure@20", n) for n in range(len(first["item_groups"]["up_to"]))]
    return {
        "users": corrected(users, "users by degree"),
        "items": corrected(items, "items by popularity"),
        "exposure": corrected(shares, "exposure of items"),
        "lists": corrected([_portrait(results, "lists", key) for key in first["lists"]], "lists"),
        "geometry": corrected([_portrait(results, "geometry", key) for key in first["geometry"]], "geometry"),
        "user groups": first["user_groups"]["users"],
        "leads": _leads(results),
    }


def _group(results: Results, table: str, column: str, place: int) -> dict[str, Any]:
    made = difference_of(results, "bpr", "both", lambda run: run["portrait"][table][column][place])
    up_to = next(iter(results.runs("bpr").values()))["portrait"][table]["up_to"]
    label = f"up to {up_to[0]:,}" if place == 0 else f"{up_to[place - 1] + 1:,} to {up_to[place]:,}"
    return made | {"metric": column, "label": label}


def _portrait(results: Results, group: str, key: str) -> dict[str, Any]:
    return difference_of(results, "bpr", "both", lambda run: run["portrait"][group][key]) | {"metric": key}


def _leads(results: Results) -> Found:
    """How far train pairs are ahead of others: the mean quantiles of the runs that know them."""
    known = {
        name: [run["portrait"]["leads"] for run in results.runs(name).values() if "leads" in run["portrait"]]
        for name in results.conditions
    }
    known = {name: np.mean(values, 0) for name, values in known.items() if values}
    if "bpr" not in known:
        return None
    return {name: {"quantiles": values.tolist(), "hard": float((values < 0).mean())} for name, values in known.items()}


def folded_in(files: Files) -> Found:
    """Part d: users who are folded in after trainings without them, beside those who are trained on."""
    results = files.get("folded-in")
    if results is None or not results.seeds(*PAIR):
        return None
    any_run = next(iter(results.runs("bpr").values()))
    return {
        "left out": results.found["left_out"] | {"users": len(results.found["users"]["relevant"])},
        "table": [_means_of_folded(results, name) for name in results.conditions],
        "trained on, table": table_of(results, ("valid",)),
        "popularity": any_run["folded_in"]["popularity"],
        "differences": corrected([_of_folded(results, metric) for metric in METRICS], "folded in, seeds"),
        "users": corrected([by_user(results, *PAIR, "folded_in")], "folded in, users"),
        "trained on": family(results, [PAIR], "valid"),
    }


def _means_of_folded(results: Results, condition: str) -> dict[str, Any]:
    values = {metric: np.array(list(_folded(results, condition, metric).values())) for metric in METRICS}
    made = {"condition": condition, "seeds": len(results.seeds(condition))}
    return made | {metric: summary(each) for metric, each in values.items()}


def _of_folded(results: Results, metric: str) -> dict[str, Any]:
    made = difference_of(results, *PAIR, lambda run: run["folded_in"][metric]) | {"metric": metric}
    a, b = (_folded(results, condition, metric) for condition in PAIR)
    seeds = results.seeds(*PAIR)
    return made | {"values": [b[seed] - a[seed] for seed in seeds], "seeds": seeds}


def _folded(results: Results, condition: str, metric: str) -> dict[int, float]:
    return per_seed(results, condition, lambda run: run["folded_in"][metric])
