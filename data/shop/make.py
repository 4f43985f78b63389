"""Makes the sample beside this file: a small shop's events and products, invented, the same at every call.

    python data/shop/make.py

Customers like two or three shelves, and buy more from them; products on a shelf differ in how popular they are.
"""

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SHELVES = {
    "tea": ("Green", "Black", "Mint", "Ginger", "Oolong", "Rooibos", "Chai", "Jasmine", "Earl Grey", "Fennel"),
    "bread": ("Rye", "Spelt", "Walnut", "Potato", "Sunflower", "Milk", "Corn", "Olive", "Brown", "Flat"),
    "cheese": ("Goat", "Blue", "Mountain", "Smoked", "Herb", "Cream", "Sheep", "Young", "Old", "Pepper"),
    "soap": ("Lavender", "Lemon", "Rose", "Cedar", "Honey", "Sea Salt", "Fig", "Almond", "Pine", "Oat"),
    "jam": ("Plum", "Quince", "Cherry", "Apricot", "Rhubarb", "Currant", "Orange", "Peach", "Elder", "Pear"),
    "rice": ("Round", "Wild", "Red", "Basmati", "Sushi", "Long", "Sticky", "Parboiled", "Camargue", "Milled"),
}


def main() -> None:
    """Writes events.csv and products.csv."""
    random = np.random.Generator(np.random.PCG64(20))
    products = [
        (f"{shelf[:2].upper()}{n:03}", f"{kind} {shelf}") for shelf in SHELVES for n, kind in enumerate(SHELVES[shelf])
    ]
    shelf = np.arange(len(products)) // 10
    appeal = random.pareto(3, len(products)) + 0.5
    events = []
    for customer in range(240):
        liked = random.choice(len(SHELVES), random.integers(1, 4), replace=False)
        weight = appeal * np.where(np.isin(shelf, liked), 40, 1)
        bought = random.choice(len(products), 5 + random.poisson(7), p=weight / weight.sum())
        start = random.uniform(0, 200)
        days = start + np.sort(random.exponential(80, len(bought)))
        events += [(day, f"c-{customer:03x}", products[item][0]) for item, day in zip(bought, days, strict=True)]
    begin = datetime(2025, 1, 1)
    rows = [(user, item, f"{begin + timedelta(days=day):%Y-%m-%d %H:%M:%S}") for day, user, item in sorted(events)]
    write("events.csv", [("customer", "sku", "when"), *rows])
    write("products.csv", [("sku", "name"), *products])


def write(name: str, rows: list[tuple]) -> None:
    with (HERE / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
