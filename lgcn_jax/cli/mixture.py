"""What `train` does of a mixture of two models: chooses its weight, and saves it in a folder."""

import time
from pathlib import Path

from absl import flags

from lgcn_jax.cli import solve
from lgcn_jax.cli.command import DATA, named_as_flags, say
from lgcn_jax.errors import InputError

NAME, FOUND = "mixture", ("first", "second")
FLAGS = {
    "first": ("", "of --model=mixture: a model, the folder of a run or of a saved model, or the name of a baseline"),
    "second": ("", "of --model=mixture: the other model"),
    "weight": ("auto", "of --model=mixture: that of the first model, from 0 to 1 (default: auto, by the valid part)"),
}


def require_no_mixture_flags(values: flags.FlagValues, model: str) -> None:
    """Raises an InputError where a flag is stated that only a mixture has."""
    for name in FLAGS:
        if values[name].present:
            raise InputError(f"--{name}", values[name].value, f"nothing with --model={model} (--model={NAME} has)")


def fit_mixture(values: flags.FlagValues, folder: Path, begun: float) -> int:
    """Fits a mixture, prints its metrics beside those of its models, and saves it in the folder with a record.

    `begun` is when the command began, of `time.perf_counter`.
    """
    from lgcn_jax.serving import mixture, storage

    _require_flags(values)
    storage.require_free(folder, values["overwrite"].value)
    weight, (interactions, config) = _parse_weight(values["weight"].value), solve.load_and_describe_data(values)
    started, names, ks = time.perf_counter(), {name: values[name].value for name in FOUND}, config.evaluation.top_k
    with named_as_flags(first="--first", second="--second", weight="--weight"):
        model = mixture.Mixture(*names.values(), weight, top_k=ks[0]).fit(interactions)
    fit_seconds, scores = time.perf_counter() - started, {}
    if model.tried:
        _print_weights(f"{interactions.name}, valid part", {f"weight {row['weight']:g}": row for row in model.tried})
    for split in solve.evaluated_parts(interactions, config):
        clock = time.perf_counter()
        found = mixture.evaluate_weights(model.first, model.second, interactions, split, (1.0, 0.0, model.weight), ks)
        scores[split] = _metrics_of_row(found[-1]) | {"seconds": round(time.perf_counter() - clock, 3)}
        called = [*(f"{name}: {value}" for name, value in names.items()), f"mixture, weight {model.weight:g}"]
        _print_weights(f"{interactions.name}, {split} part", dict(zip(called, found, strict=True)))
    settings, times = {"model": NAME} | names | {"weight": model.weight}, solve.Times(begun, started, fit_seconds)
    solve.save(model, folder, settings, interactions, config, scores, times)
    return 0


def _require_flags(values: flags.FlagValues) -> None:
    """Raises an InputError where a model is missing, or a flag is stated that no mixture has."""
    known = {*DATA, *solve.EVALUATED, *solve.HOW, *FLAGS, "model"}
    for name in values:
        if values[name].present and name not in known:
            expected = f"nothing with --model={NAME}, whose models have their own"
            raise InputError(f"--{name}", values[name].value, expected)
    for name in FOUND:
        if not values[name].value:
            raise InputError(f"--{name}", "nothing", "the folder of a run or model, or the name of a baseline")


def _metrics_of_row(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "weight"}


def _print_weights(title: str, rows: dict[str, dict[str, float]]) -> None:
    from lgcn_jax.runs import display

    say(display.format_table({title: {}} | {name: _metrics_of_row(row) for name, row in rows.items()}))


def _parse_weight(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
