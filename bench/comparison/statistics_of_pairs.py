"""Medians and spreads. Ratios are made within a round, where both had the same neighbours."""

import dataclasses
import statistics

# Beyond this distance between the quartiles, relative to the median, a figure is called noisy.
NOISY = 0.15


@dataclasses.dataclass
class Figure:
    median: float
    lowest: float
    highest: float
    noisy: bool


def figure_of(values):
    median = statistics.median(values)
    noisy = False
    if len(values) >= 4:
        lower, _, upper = statistics.quantiles(values, n=4)
        noisy = upper - lower > NOISY * median
    return Figure(median, min(values), max(values), noisy)


def ratio_of(values, others):
    return figure_of([value / other for value, other in zip(values, others)])
