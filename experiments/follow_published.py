"""How closely runs on LastFM follow the published PyTorch code's curve under other random numbers.

    for seed in 2020 2021 2022; do
        python -m lgcn_jax train --flagfile=experiments/recipes/lastfm-bpr.flags --seed=$seed \\
            --workdir=runs/lastfm-$seed
    done
    python experiments/follow_published.py runs/lastfm-2020 runs/lastfm-2021 runs/lastfm-2022

Prints recall@20 at every hundredth epoch beside the published curve of the same loss (experiments/reference/*.csv)
and exits with status 1 where a run is further than .006 from it.
"""

import json
import sys
from pathlib import Path

import published
from absl import app, flags

TOLERANCE = flags.DEFINE_float("tolerance", 0.006, "largest difference in recall@20")


def curve(workdir: Path) -> dict[int, float]:
    """Epoch -> recall@20 of a run."""
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["epoch"]: row["recall@20"] for row in rows if row["split"] == "test"}


def main(argv: list[str]) -> None:
    runs = [Path(argument) for argument in argv[1:]]
    loss = json.loads((runs[0] / "config.json").read_text(encoding="utf-8"))["loss"]
    theirs, ours = published.lastfm_curve(loss), [curve(run) for run in runs]
    print("epoch  published  " + "  ".join(f"{run.name:>16}" for run in runs))
    largest = 0.0
    for epoch in (epoch for epoch in theirs if epoch and epoch % 100 == 0):
        differences = [run[epoch] - theirs[epoch] for run in ours if epoch in run]
        cells = [f"{theirs[epoch] + difference:.4f} ({difference:+.4f})" for difference in differences]
        print(f"{epoch:5d}  {theirs[epoch]:9.4f}  " + "  ".join(f"{cell:>16}" for cell in cells))
        largest = max([largest, *map(abs, differences)])
    print(f"best   {max(theirs.values()):9.4f}  " + "  ".join(f"{max(run.values()):16.4f}" for run in ours))
    print(f"largest difference {largest:.4f}, tolerance {TOLERANCE.value}")
    if largest > TOLERANCE.value:
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
