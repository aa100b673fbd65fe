"""The style of the figures and of the page: colours by meaning, sizes of text, and the form of percentages.

Text has a contrast of at least 4.5 with its background, lines and bars one of 3 (WCAG 2.1, level AA).
"""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Palette:
    """Colours as #rrggbb; blue and red are safe for colour blindness (Okabe and Ito 2008)."""

    paper: str
    ink: str
    soft: str  # secondary text, axes, and the lines that results are compared with
    line: str  # grids and separators, which carry no information
    field: str  # background of controls
    blue: str  # training; correct
    red: str  # validation; misclassified
    correct: float = 0.28  # how much of blue a cell of correct images has, the rest is paper
    weakest: float = 0.12  # how much of red a cell of few misclassified images has
    strongest: float = 0.72  # ... and the cell of the most


LIGHT = Palette("#ffffff", "#1c1c1e", "#5c6066", "#dcdcdc", "#f6f6f4", "#0072b2", "#c84600")
DARK = Palette("#15171a", "#ececee", "#a4a9b0", "#383c42", "#1e2126", "#56b4e9", "#f08a4b", strongest=0.5)

SMALL, SMALLEST = 9, 8  # points; other text has 10, titles 11
FIGURE_STYLE: dict[Any, Any] = {  # matplotlib's rcParams
    "figure.dpi": 120,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "savefig.bbox": "tight",  # a figure's size is that of its axes; text around them enlarges the file
    "text.parse_math": False,  # "$" in a class name is a character like others
    "text.color": LIGHT.ink,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": LIGHT.soft,
    "axes.labelcolor": LIGHT.soft,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LIGHT.line,
    "xtick.color": LIGHT.soft,
    "ytick.color": LIGHT.soft,
    "legend.frameon": False,
    "image.cmap": "gray",
}
# The line and the markers of each curve of training, here and in the page's charts.
TRAINING = {"color": LIGHT.blue, "linestyle": "-", "marker": "o", "markersize": 4}
VALIDATION = {"color": LIGHT.red, "linestyle": "--", "marker": "s", "markersize": 4}
MAX_MARKERS = 20  # per curve, however long the training


def format_percent(fraction: float, digits: int) -> str:
    """Format a fraction as a percentage; NaN, the score of a class without images, as a dash."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.{digits}f} %"


def format_probability(probability: float, digits: int) -> str:
    """Format a probability as a percentage; no prediction is certain, so one that rounds to 100 is "> 99.9 %"."""
    text = format_percent(probability, digits)
    return f"> {100 - 10**-digits:.{digits}f} %" if text == format_percent(1, digits) else text
