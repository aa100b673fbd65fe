"""`make bench`: measure the pipeline against the tutorial's program, DVC alone and numpy alone.

    python -m tools.bench [--only SECTION] [--runs N] [--seeds N] [--quick]

Writes docs/benchmark.md and docs/benchmark.png.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tools.bench.report import write_report
from tools.bench.run import QUICK, Bench, Plan
from tools.bench.sections import SECTIONS
from tools.checkout import ROOT


def main() -> int:
    """Measure, and write the report; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SECTIONS, help="measure this section, and leave the report's others alone")
    parser.add_argument("--runs", type=int, help=f"of everything timed: 1 or more; {Plan.runs} if not given")
    parser.add_argument("--seeds", type=int, help=f"to compare accuracies over: 2 or more; {Plan.seeds} if not given")
    parser.add_argument("--quick", action="store_true", help="try the tool out: little work, report in build/bench")
    given = parser.parse_args()
    plan = QUICK if given.quick else Plan()
    counts = {name: count for name in ("runs", "seeds") if (count := getattr(given, name)) is not None}
    plan = replace(plan, **counts)
    if plan.runs < 1 or plan.seeds < 2:  # a standard error needs two
        parser.error("give at least 1 run and 2 seeds")
    changed = subprocess.run(["git", "status", "--porcelain", "stages", "params.yaml"], cwd=ROOT, capture_output=True)
    if changed.stdout:
        print("bench: changes are not committed: whole, noop and growth measure the last commit", file=sys.stderr)
    sections = {}
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "build") as folder:
        bench = Bench(plan, Path(folder))
        for name in [given.only] if given.only else SECTIONS:
            title, measure = SECTIONS[name]
            print(f"{name}:", file=sys.stderr, flush=True)
            start = time.perf_counter()
            sections[title] = measure(bench)
            print(f"{name} took {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
            titles = [title for title, _ in SECTIONS.values()]
            write_report(plan.report, titles, sections, quick=plan.quick)
    print(f"bench: wrote {plan.report.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
