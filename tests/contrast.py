"""The contrast of colours, and the ratios that WCAG 2.1 demands at level AA."""

from collections.abc import Sequence

import numpy as np

TEXT, GRAPHICS = 4.5, 3.0


def contrast(first: Sequence[float], second: Sequence[float]) -> float:
    """The contrast ratio of two colours, each red, green and blue from 0 to 1."""

    def luminance(colour: Sequence[float]) -> float:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
