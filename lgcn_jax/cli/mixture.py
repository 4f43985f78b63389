"""What `train` does of a mixture of two models: chooses its weight, and saves it in a folder."""

from pathlib import Path

from absl import flags

from lgcn_jax.cli import solve
from lgcn_jax.cli.command import DATA, flags_for, say
from lgcn_jax.errors import InputError

NAME = "mixture"
PARTS = {
    "first": ("", "of --model=mixture: a model, the folder of a run or of a saved model, or the name of a baseline"),
    "second": ("", "of --model=mixture: the other model"),
    "weight": ("auto", "of --model=mixture: that of the first model, from 0 to 1 (default: auto, by the valid part)"),
}


def require_none(values: flags.FlagValues, model: str) -> None:
    """Raises an InputError where a flag is stated that only a mixture has."""
    for name in PARTS:
        if values[name].present:
            raise InputError(f"--{name}", values[name].value, f"nothing with --model={model} (--model={NAME} has)")


def mix(values: flags.FlagValues, folder: Path) -> int:
    """Fits a mixture, prints its metrics beside those of its models, and saves it in the folder."""
    from lgcn_jax.serving import mixture, storage

    quiet = values["quiet"].value
    known = {*DATA, *solve.EVALUATED, *solve.HOW, *PARTS, "model"}
    for name in values:
        if values[name].present and name not in known:
            raise InputError(
                f"--{name}", values[name].value, f"nothing with --model={NAME}, whose models have their own"
            )
    for name in ("first", "second"):
        if not values[name].value:
            raise InputError(f"--{name}", "nothing", "the folder of a run or model, or the name of a baseline")
    storage.require_free(folder, values["overwrite"].value)
    weight = _weight(values["weight"].value)
    interactions, ks, split = solve.data_of(values, quiet)
    if not quiet:
        say("\n".join([interactions.headline(), *interactions.remarks, interactions.noticed(split)]))
    names = {name: f"{name}: {values[name].value}" for name in ("first", "second")}
    with flags_for(first="--first", second="--second", weight="--weight"):
        model = mixture.Mixture(values["first"].value, values["second"].value, weight, top_k=ks[0])
        model.fit(interactions)
    if model.tried:
        rows = {f"weight {row['weight']:g}": row for row in model.tried}
        _print(f"{interactions.name}, valid part", rows)
    if split != "none":
        found = mixture.sweep(model.first, model.second, interactions, split, (1.0, 0.0, model.weight), ks)
        called = [*names.values(), f"mixture, weight {model.weight:g}"]
        _print(f"{interactions.name}, {split} part", dict(zip(called, found, strict=True)))
    model.save(folder)
    say(f"wrote {folder}")
    return 0


def _print(title: str, rows: dict[str, dict[str, float]]) -> None:
    from lgcn_jax.runs import display

    of_lists = {name: {key: value for key, value in row.items() if key != "weight"} for name, row in rows.items()}
    say(display.format_table({title: {}} | of_lists))


def _weight(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
