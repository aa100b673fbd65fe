"""`make demo`: the six stages, offline, on scikit-learn's digits, in a clone of its own."""

import sys

from tools.checkout import ROOT, clone_to, run_dvc, summary

DEMO = ROOT / "build/demo"
PARAMS = ("download.dataset=digits", "preprocess.validation_size=200")


def main() -> int:
    """Run the demo; return the exit status."""
    clone_to(DEMO)
    changes = [word for param in PARAMS for word in ("--set-param", param)]
    if status := run_dvc("exp", "run", "--name", "demo", *changes, folder=DEMO):
        return status
    print(summary(DEMO))
    return 0


if __name__ == "__main__":
    sys.exit(main())
