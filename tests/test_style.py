"""The style: contrasts of the colours, the form of percentages, and that all outputs and pages have this form."""

import math
import re

import pytest
from contrast import GRAPHICS, TEXT, contrast
from matplotlib.colors import to_rgb

from mnist.core.paths import ROOT
from mnist.style import DARK, LIGHT, Palette, format_percent, format_probability
from tools.checkout import git

SUFFIXES = (
    ".py",
    ".md",
    ".j2",
    ".html",
    ".js",
    ".sh",
    ".yaml",
    ".yml",
    ".json",
    ".toml",
)  # CSS has percentages of its own


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_colours_have_the_contrast_of_level_aa(palette: Palette) -> None:
    for text in (palette.ink, palette.soft, palette.blue, palette.red):
        assert contrast(to_rgb(text), to_rgb(palette.paper)) >= TEXT
    for text in (palette.ink, palette.soft):
        assert contrast(to_rgb(text), to_rgb(palette.field)) >= TEXT
    assert contrast(to_rgb(palette.soft), to_rgb(palette.field)) >= GRAPHICS


@pytest.mark.parametrize(
    ("fraction", "digits", "expected"),
    [(0.5, 0, "50 %"), (0.97406, 2, "97.41 %"), (1, 1, "100.0 %"), (0, 1, "0.0 %"), (math.nan, 1, "–")],
)
def test_a_percentage_has_a_space_before_its_sign(fraction: float, digits: int, expected: str) -> None:
    assert format_percent(fraction, digits) == expected


@pytest.mark.parametrize(
    ("probability", "digits", "expected"),
    [
        (1, 2, "> 99.99 %"),
        (0.99996, 2, "> 99.99 %"),
        (0.99994, 2, "99.99 %"),
        (0.9996, 1, "> 99.9 %"),
        (0.0001, 1, "0.0 %"),
    ],
)
def test_no_prediction_is_certain(probability: float, digits: int, expected: str) -> None:
    assert format_probability(probability, digits) == expected


def test_percentages_have_one_form_everywhere() -> None:
    """A number, a space and the sign: Python's own format omits the space."""
    found = []
    for name in (git("ls-files") or "").splitlines():
        if name.endswith(SUFFIXES) and (ROOT / name).exists():
            matches = re.findall(r"\d%(?![\dsdr(.A-F])|\{[^{}]*:[.,\d]*%\}", (ROOT / name).read_text())
            found += [f"{name}: {match}" for match in matches]
    assert found == []
