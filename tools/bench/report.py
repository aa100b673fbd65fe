"""What `tools.bench` writes: statistics, tables, the report and its chart. Standard library, but for the chart."""

import re
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, median, stdev

from tools.machine import machine


def spread(values: Sequence[float], form: str = ".2f") -> list[str]:
    """Median, lowest and highest, as three cells of a table."""
    return [f"{value:{form}}" for value in (median(values), min(values), max(values))]


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """The ratio of each pair: of what ran one after the other."""
    return [value / other for value, other in zip(values, base, strict=True)]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown: its first column words, the others figures."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison(seconds: Mapping[str, Sequence[float]], base: str, unit: str = "seconds") -> str:
    """A table of durations, each with its ratio to that of `base`.

    Args:
        seconds: what was timed, and its durations: as many for each, pairwise one after the other.
        base: the one that the others are divided by.
        unit: what the durations are.
    """
    rows = [
        [name, "1" if name == base else "{} ({} to {})".format(*spread(ratios(values, seconds[base]))), *spread(values)]
        for name, values in seconds.items()
    ]
    return table(["", f"times {base}", unit, "lowest", "highest"], rows)


def accuracies(measured: Mapping[str, Sequence[float]]) -> str:
    """A table of two samples of accuracies, and a sentence on whether they differ."""
    errors = {name: stdev(values) / sqrt(len(values)) for name, values in measured.items()}
    rows = [
        [
            name,
            f"{fmean(values):.3%}",
            f"{errors[name]:.3%}",
            f"{min(values):.2%}",
            f"{max(values):.2%}",
            str(len(values)),
        ]
        for name, values in measured.items()
    ]
    first, second = measured.values()
    difference = fmean(second) - fmean(first)
    error = sqrt(sum(value**2 for value in errors.values()))
    accuracy = fmean([*first, *second])
    binomial = sqrt(accuracy * (1 - accuracy) / 10_000)
    return (
        table(["test accuracy", "mean", "standard error", "lowest", "highest", "seeds"], rows)
        + f"\n\nThe means differ by {difference:+.3%}, {abs(difference) / error:.1f} times the standard error of that "
        f"difference ({error:.3%}). The standard error of one accuracy on 10,000 images is {binomial:.3%}."
    )


def write_report(path: Path, titles: Sequence[str], sections: Mapping[str, str], *, quick: bool) -> None:
    """Write the report; sections that were not measured now stay as they are in the file.

    Args:
        path: the file.
        titles: of all sections, in order.
        sections: title and text of those measured now.
        quick: say that the figures mean nothing.
    """
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    kept = {title: text.strip() for title, text in re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", old, re.M)}
    texts = {**kept, **sections}
    parts = [
        "# Benchmark",
        "Written by `python -m tools.bench`. Everything timed ran in a fresh process, on the processor only; what is "
        "compared ran in turn (A, B, A, B, ...). Figures are medians, with the lowest and the highest; a ratio is the "
        "median of the ratios of neighbours, with the lowest and the highest in brackets.",
        *(["**Measured with `--quick`, which only tries the tool out: the figures mean nothing.**"] if quick else []),
        table(["measured with", "version"], list(map(list, machine().items()))),
        *(f"## {title}\n\n{texts[title]}" for title in titles if title in texts),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8", newline="\n")


def draw_chart(path: Path, seconds: Mapping[str, Sequence[float]], title: str) -> None:
    """Draw a bar for each median, with a line from the lowest to the highest."""
    from matplotlib.figure import Figure

    names = list(seconds)
    medians = [median(values) for values in seconds.values()]
    reach = [
        [middle - min(values) for middle, values in zip(medians, seconds.values(), strict=True)],
        [max(values) - middle for middle, values in zip(medians, seconds.values(), strict=True)],
    ]
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot()
    colours = ["tab:gray"] * (len(names) - 1) + ["tab:blue"]
    axes.barh(names, medians, xerr=reach, color=colours, height=0.6, error_kw={"ecolor": "black", "capsize": 3})
    for position, values in enumerate(seconds.values()):
        axes.annotate(
            f"{medians[position]:.2f} s", (max(values), position), (6, 0), textcoords="offset points", va="center"
        )
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds an epoch")
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
