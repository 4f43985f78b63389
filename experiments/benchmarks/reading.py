"""A csv of text ids to a data set and its graph: seconds and peak memory, for a random split and for one in time.

    python experiments/benchmarks/reading.py --rows=10000000 --out=/tmp/reading

Writes --rows invented events into the folder --out (31 bytes each): a twentieth as many users and a fiftieth as many
items, of which the first are drawn far more often than the last. Reads them in a process of its own for each split.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from absl import app, flags

ROWS = flags.DEFINE_integer("rows", 10_000_000, "events of the file")
OUT = flags.DEFINE_string("out", None, "a folder for the file", required=True)
SPLIT = flags.DEFINE_enum("split", None, ("random", "temporal"), "read the file that is there, and print one line")
BLOCK = 500_000  # rows that are written at a time


def main(argv: list[str]) -> None:
    del argv
    path = Path(OUT.value) / "events.csv"
    if SPLIT.value:
        print(json.dumps(measured(path, SPLIT.value)))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, ROWS.value)
    found = {split: in_a_process(split) for split in ("random", "temporal")}
    print(f"{ROWS.value:,} rows, {path.stat().st_size / 1e6:,.0f} MB")
    for split, facts in found.items():
        print(f"{split:<9}{facts['seconds']:7.1f} s{facts['gigabytes']:6.2f} GB, {facts['headline']}")
    print(json.dumps({"benchmark": "reading", "rows": ROWS.value, "splits": found}))


def write(path: Path, rows: int) -> None:
    """Writes the events, in the order of their times."""
    random = np.random.Generator(np.random.PCG64(0))
    with path.open("w", encoding="utf-8") as file:
        file.write("user_id,item_id,timestamp\n")
        for start in range(0, rows, BLOCK):
            count = min(BLOCK, rows - start)
            users = (random.random(count) ** 1.5 * (rows // 20 + 1)).astype(int).tolist()
            items = (random.random(count) ** 3 * (rows // 50 + 1)).astype(int).tolist()
            times = range(1_400_000_000 + start, 1_400_000_000 + start + count)
            lines = zip(users, items, times, strict=True)
            file.write("".join(f"U{user:07d},B{item:08d}X,{when}\n" for user, item, when in lines))


def in_a_process(split: str) -> dict[str, object]:
    """What `measured` says, of a process that has read nothing before."""
    command = [sys.executable, __file__, f"--out={OUT.value}", f"--split={split}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measured(path: Path, split: str) -> dict[str, object]:
    """Seconds from the file to the graph, the process's peak memory, and what was read."""
    import lgcn_jax as lg
    from lgcn_jax.graph import normalization

    started = time.perf_counter()
    found = lg.read(path, split=split)
    normalization.normalized_adjacency(found.train, found.num_items)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": round(seconds, 2), "gigabytes": round(peak, 2), "headline": found.headline()}


if __name__ == "__main__":
    app.run(main)
