"""The geometry of the report's line charts, in the units of their SVG."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import nonsingular

LEFT, RIGHT, TOP, BOTTOM = 46, 332, 8, 190  # where the lines are drawn; report.html has the same edges


@dataclass(frozen=True)
class Line:
    """A series, ready to be drawn."""

    name: str
    points: str
    end: tuple[float, float]
    last: str
    """Its last value, in words."""


@dataclass(frozen=True)
class LineChart:
    """Series over epochs: ticks are pairs of a place and its label."""

    title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]

    @property
    def said(self) -> str:
        """What the chart shows, for who does not see it."""
        return "; ".join(f"{line.name} ends at {line.last}" for line in self.lines)


def line_chart(title: str, epochs: np.ndarray, series: Mapping[str, np.ndarray]) -> LineChart:
    """Lay out a chart.

    Args:
        title: what the series measure.
        epochs: integers (n,), ascending.
        series: arrays of shape (n,) by their names.
    """
    values = np.concatenate(list(series.values()))
    low, high = nonsingular(values.min(), values.max(), expander=0.05)  # room also around a single value
    levels = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
    digits = max(0, -int(np.floor(np.log10(levels[1] - levels[0]) + 1e-9)))
    first, last = int(epochs[0]), int(epochs[-1])

    def x(epoch: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (epoch - first) / max(1, last - first), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - levels[0]) / (levels[-1] - levels[0]), 1)

    lines = []
    for name, line in series.items():
        places = [(x(epoch), y(value)) for epoch, value in zip(epochs, line, strict=True)]
        points = " ".join(f"{left},{top}" for left, top in places)
        lines.append(Line(name, points, places[-1], f"{line[-1]:.4f}"))
    ticks = [int(tick) for tick in MaxNLocator(6, integer=True).tick_values(first, last) if first <= tick <= last]
    return LineChart(
        title, lines, [(x(tick), str(tick)) for tick in ticks], [(y(level), f"{level:.{digits}f}") for level in levels]
    )
