"""Figures that others have published, for experiments to print beside their own."""

import csv
from pathlib import Path


def lastfm_curve(loss: str) -> dict[int, float]:
    """Epoch -> recall@20 of LightGCN-PyTorch on LastFM with seed 2020, under 'bpr' or the paper's 'enhanced' loss."""
    path = Path(__file__).parent / "reference" / f"lastfm_pytorch_{loss}_seed2020.csv"
    with open(path, newline="", encoding="utf-8") as file:
        return {int(row["epoch"]): float(row["recall@20"]) for row in csv.DictReader(file)}
