"""`make demo`: run the six stages offline, on scikit-learn's digits, in a copy in build/demo, which needs no git."""

import shutil
import sys

from mnist.core.errors import run_stage
from mnist.core.paths import ROOT
from tools.checkout import run_dvc, set_params, summary

DEMO = ROOT / "build/demo"
FILES = (".dvcignore", "dvc.yaml", "params.yaml", ".dvc/config")
FOLDERS = (".dvc/plots", "datasets", "mnist", "stages")


def main() -> None:
    """Run the demo."""
    shutil.rmtree(DEMO, ignore_errors=True)
    (DEMO / ".dvc").mkdir(parents=True)
    for name in FILES:
        shutil.copy(ROOT / name, DEMO / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, DEMO / name)
    set_params(DEMO, {"download": {"dataset": "digits"}})
    run_dvc("config", "core.no_scm", "true", folder=DEMO)
    if status := run_dvc("repro", folder=DEMO, changes={"DATASET_MIRROR": ""}):
        sys.exit(status)
    print(summary(DEMO))


if __name__ == "__main__":
    run_stage(main)
