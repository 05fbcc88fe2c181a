"""Writes orders.csv, always the same: a year of orders of a small hardware shop.

Run it again after a change: python examples/sales_report/make_orders.py
"""

from __future__ import annotations

import csv
import random
from datetime import date, timedelta
from pathlib import Path

ROWS = 1_200
SEED = 20_260_101
FIRST_DAY = date(2025, 1, 1)

#: Name, price in euros, how often it sells.
PRODUCTS = [
    ("Claw Hammer", "18.90", 8),
    ("Cordless Drill", "129.00", 5),
    ("Screwdriver Set", "24.50", 9),
    ("Tape Measure 5 m", "7.95", 12),
    ("Step Ladder", "64.00", 3),
    ("Work Gloves", "5.40", 14),
    ("Paint Roller", "9.25", 7),
    ("Wall Paint White 10 l", "39.99", 6),
    ("Circular Saw", "149.50", 2),
    ("Safety Glasses", "11.20", 6),
]
#: Name, share of the orders.
REGIONS = [("North", 30), ("South", 24), ("West", 28), ("East", 18)]
STATUSES = [("delivered", 78), ("returned", 7), ("cancelled", 9), ("open", 6)]


def pick(random_: random.Random, choices: list[tuple[str, int]]) -> str:
    names, weights = zip(*choices, strict=True)
    return random_.choices(names, weights)[0]


def main() -> None:
    random_ = random.Random(SEED)
    days = sorted(random_.randrange(365) for _ in range(ROWS))
    weights = [often for _, _, often in PRODUCTS]
    with Path(__file__).with_name("orders.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["order_id", "order_date", "region", "product", "quantity", "unit_price", "status"])
        for i, day in enumerate(days):
            product, price, _ = random_.choices(PRODUCTS, weights)[0]
            quantity = min(20, 1 + int(random_.expovariate(0.6)))
            row = [f"SO-{10_001 + i}", FIRST_DAY + timedelta(days=day), pick(random_, REGIONS), product]
            writer.writerow([*row, quantity, price, pick(random_, STATUSES)])


if __name__ == "__main__":
    main()
