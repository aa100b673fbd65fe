"""`make`: run the pipeline and print its result; on a first run that reaches no source, run the demo instead."""

import os
import sys
import tempfile
from pathlib import Path

from dvc.cli import main as dvc

from mnist.core.errors import UserError, run_stage
from mnist.core.params import read_params
from mnist.core.paths import RAW, ROOT
from mnist.dataset.catalogue import Dataset, DownloadParams, find_dataset
from tools import demo
from tools.cache import LOCK, is_cached, report_corrupt, restore_missing
from tools.checkout import environment, summary


def is_reachable(dataset: Dataset) -> bool:
    """Whether a source returns the smallest file of the data set."""
    from mnist.dataset.fetch import fetch  # here, since a second `make` does not need it

    name, published = min(dataset.files.items(), key=lambda item: item[1].size)
    try:
        with tempfile.TemporaryDirectory() as folder:
            fetch(name, published, dataset.mirrors, Path(folder, name), timeout=5, retry_after=())
    except UserError:
        return False
    return True


def reproduce(*options: str) -> None:
    """Run `dvc repro`, in this process for a fast start; if it fails, restore the earlier results, and exit."""
    if status := dvc(["repro", *options]):
        restore_missing()
        sys.exit(status)


def main() -> None:
    """Run the pipeline, or the demo."""
    dataset = find_dataset(read_params(DownloadParams).dataset)  # DVC would only name a missing file in datasets/
    if not any((folder / ".git").exists() for folder in (ROOT, *ROOT.parents)):  # downloaded as a ZIP file
        dvc(["config", "core.no_scm", "true"])
    first_run = not RAW.exists() and not is_cached()
    # A source that the user names is used or an error, and so is a folder; the demo is for a machine without the web.
    on_the_web = not os.environ.get("DATASET_MIRROR") and any("://" in mirror for mirror in dataset.mirrors)
    if first_run and on_the_web and not is_reachable(dataset):
        print(f"No source of {dataset.title} can be reached: running the demo on scikit-learn's digits", flush=True)
        demo.main()
        return
    os.environ.update(environment())
    report_corrupt()
    before = LOCK.read_bytes() if LOCK.exists() else b""
    # In a fresh clone DVC would skip the stages whose results are in git; a first run should show that all can run.
    reproduce(*(["--force"] if first_run else []))
    # DVC may have taken corrupt files from its cache for a different dvc.lock, and later stages may have read them.
    if LOCK.read_bytes() != before and report_corrupt():
        reproduce("--force", "--no-run-cache")
    print(summary(ROOT))


if __name__ == "__main__":
    run_stage(main)
