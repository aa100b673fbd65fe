"""The geometry of the report's line charts, in SVG units."""

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from mnist.style import MAX_MARKERS

LEFT, RIGHT, TOP, BOTTOM = 46, 332, 8, 190  # edges of the plot area, as in report.html


def line_chart(history: dict[str, np.ndarray], measure: str) -> dict[str, Any]:
    """Lay out the training and validation curve of a measure (accuracy or loss); ticks are positions by label."""
    epochs, series = history["epoch"], {"training": history[measure], "validation": history[f"val_{measure}"]}
    values = np.concatenate(list(series.values()))
    locator = MaxNLocator(5, steps=[1, 2, 5, 10])
    levels = locator.tick_values(*locator.nonsingular(values.min(), values.max()))  # makes room around a constant
    digits = max(0, -int(np.floor(np.log10(levels[1] - levels[0]) + 1e-9)))
    first, last = epochs[0], epochs[-1]
    ticks = [int(tick) for tick in MaxNLocator(6, integer=True).tick_values(first, last) if first <= tick <= last]

    def x(epoch: float) -> float:
        return round(float(np.interp(epoch, (first, max(last, first + 1)), (LEFT, RIGHT))), 1)

    def y(value: float) -> float:
        return round(float(np.interp(value, (levels[0], levels[-1]), (BOTTOM, TOP))), 1)

    lines = []
    for name, line in series.items():
        points = [*zip(map(x, epochs), map(y, line), strict=True)]
        markers = points[:: -(-len(points) // MAX_MARKERS)]
        lines.append({"name": name, "points": points, "markers": markers, "last": line[-1]})
    return {
        "measure": measure,
        "lines": lines,
        "x_ticks": {tick: x(tick) for tick in ticks},
        "y_ticks": {f"{level:.{digits}f}": y(level) for level in levels},
    }
