"""`make demo`: run the six stages offline, on scikit-learn's digits, in a clone in build/demo."""

import sys

from tools.checkout import ROOT, clone_to, run_dvc, summary

DEMO = ROOT / "build/demo"


def main() -> None:
    """Run the demo."""
    clone_to(DEMO)
    if status := run_dvc("exp", "run", "--name", "demo", "--set-param", "download.dataset=digits", folder=DEMO):
        sys.exit(status)
    print(summary(DEMO))


if __name__ == "__main__":
    main()
