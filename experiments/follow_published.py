"""How closely runs on LastFM follow the published PyTorch code's curve under other random numbers.

    for seed in 2020 2021 2022; do
        python -m lgcn_jax train --flagfile=experiments/recipes/lastfm-bpr.flags --seed=$seed \\
            --workdir=runs/lastfm-$seed
    done
    python experiments/follow_published.py runs/lastfm-2020 runs/lastfm-2021 runs/lastfm-2022

Prints recall@20 at every hundredth epoch beside the published curve of the same loss (experiments/reference/*.csv)
and exits with status 1 where a run is further than .006 from it, lacks one of these epochs or is no such run.
"""

import json
import sys
from pathlib import Path

import published
from absl import app, flags

EVERY = 100  # epochs


def curve(workdir: Path) -> dict[int, float]:
    """Epoch -> recall@20 of a run."""
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["epoch"]: row["recall@20"] for row in rows if row["split"] == "test"}


def loss_of(runs: list[Path]) -> str:
    """The loss that all runs share; exits where they do not, or where one is no run on LastFM."""
    found = {}
    for run in runs:
        try:
            config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        except OSError as error:
            sys.exit(f"{run}: found no run ({error.strerror}), expected the folder of one")
        if config["dataset"] != "lastfm":
            sys.exit(f"{run}: found a run on {config['dataset']}, expected one on lastfm")
        found.setdefault(config["loss"], run)
    if len(found) != 1:
        sys.exit(f"{', '.join(map(str, found.values()))}: found the losses {', '.join(found)}, expected one loss")
    return next(iter(found))


def compare(runs: list[Path], tolerance: float) -> None:
    """Prints the table; exits with a line on what is wrong."""
    if not runs:
        sys.exit("command line: found no run, expected the folder of at least one")
    theirs, ours = published.lastfm_curve(loss_of(runs)), {run: curve(run) for run in runs}
    epochs = [epoch for epoch in theirs if epoch and epoch % EVERY == 0]
    for run, found in ours.items():
        if missing := [str(epoch) for epoch in epochs if epoch not in found]:
            sys.exit(f"{run}: found no evaluation on the test part at epoch {', '.join(missing)}, expected one at each")
    print("epoch  published  " + "  ".join(f"{run.name:>16}" for run in runs))
    largest = 0.0
    for epoch in epochs:
        differences = [found[epoch] - theirs[epoch] for found in ours.values()]
        cells = [f"{theirs[epoch] + difference:.4f} ({difference:+.4f})" for difference in differences]
        print(f"{epoch:5d}  {theirs[epoch]:9.4f}  " + "  ".join(f"{cell:>16}" for cell in cells))
        largest = max([largest, *map(abs, differences)])
    print(f"best   {max(theirs.values()):9.4f}  " + "  ".join(f"{max(run.values()):16.4f}" for run in ours.values()))
    print(f"largest difference {largest:.4f}, tolerance {tolerance}")
    if largest > tolerance:
        sys.exit(f"a run is further than {tolerance} from the published curve")


def main(argv: list[str]) -> None:
    compare([Path(argument) for argument in argv[1:]], flags.FLAGS.tolerance)


if __name__ == "__main__":
    flags.DEFINE_float("tolerance", 0.006, "largest difference in recall@20")
    app.run(main)
