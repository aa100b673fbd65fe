"""`make bench`: measure the last commit, side by side with the tutorial's program, other libraries, DVC and NumPy."""

import argparse
import sys
import tempfile
from operator import mul
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mnist.core.errors import UserError
from mnist.core.params import read_yaml
from mnist.core.paths import ROOT
from tools.bench.measure import Bench, Measurement
from tools.checkout import git, require_commit
from tools.machine import machine

HERE = Path(__file__).parent


def write_report(path: Path, **context: Any) -> None:
    """Write the report with the results of one section; its other sections stay as they are in the file."""
    loader = FileSystemLoader(HERE)
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701
    environment.filters |= {"median": median, "mean": mean, "stdev": stdev}
    environment.filters["multiply"] = mul
    environment.filters["divided_by"] = lambda values, base: [a / b for a, b in zip(values, base, strict=True)]
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    kept = dict(part.split("\n", 1) for part in old.split("\n## ")[1:])
    context |= {"kept": kept, "commit": git("rev-parse", "--short", "HEAD"), "machine": machine()}
    path.write_text(environment.get_template("report.md.j2").render(context) + "\n", encoding="utf-8", newline="\n")


def main() -> None:
    """Measure, and write the report after each section."""
    content = read_yaml(HERE / "measurements.yaml")
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--only", choices=content["sections"], help="measure this section; the report keeps the others")
    parser.add_argument("--runs", type=int, choices=range(2, 21), metavar="2..20", help="runs of each measurement")
    parser.add_argument("--quick", action="store_true", help="only try the tool out; the report goes to build/bench")
    options = parser.parse_args()
    require_commit()
    build = ROOT / "build/bench"
    build.mkdir(parents=True, exist_ok=True)
    report = (build if options.quick else ROOT / "docs") / "benchmark.md"
    for name in [options.only] if options.only else content["sections"]:
        section = content["sections"][name]
        measurements = {key: Measurement(**value) for key, value in section["measurements"].items()}
        runs = options.runs or (2 if options.quick else section.get("runs", 3))
        with tempfile.TemporaryDirectory(dir=build) as folder:
            results = Bench(Path(folder), content["tutorial"], options.quick).interleave(measurements, runs)
        write_report(report, measured=name, measurements=measurements, results=results, quick=options.quick)
    print(f"bench: wrote {report.relative_to(ROOT)}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"bench: {error}")
