"""`make`: run the pipeline and say how it went; on a first run that reaches no source, the demo instead."""

import sys

from mnist.core.errors import run_stage
from tools.cache import LOCK, discard_damaged, restore_missing
from tools.checkout import ROOT, run_dvc, summary


def unreachable() -> str | None:
    """The title of the data set if no source of it can be reached, tried with its smallest file."""
    import tempfile
    from pathlib import Path

    from mnist.core.errors import UserError
    from mnist.core.params import read_params
    from mnist.dataset.catalogue import DownloadParams, find_dataset
    from mnist.dataset.fetch import fetch, list_sources

    try:
        dataset = find_dataset(read_params(DownloadParams).dataset)
    except UserError:
        return None  # not a matter of sources; the download stage will say what it is
    name, published = min(dataset.files.items(), key=lambda item: item[1].size)
    with tempfile.TemporaryDirectory() as folder:
        try:
            fetch(name, published, list_sources(dataset.mirrors), Path(folder, name), timeout=5, retry_after=())
        except UserError:
            return dataset.title
    return None


def reproduce(*options: str) -> None:
    """Run `dvc repro`; if it does not succeed, bring back the earlier results that it took away, and end."""
    if status := run_dvc("repro", *options):
        restore_missing()
        sys.exit(status)


def say_damaged() -> bool:
    """Discard what is damaged in DVC's cache, and say what; return whether there was anything."""
    damaged = discard_damaged()
    if damaged:
        print(f"run: damaged in DVC's cache, and to be made again: {', '.join(damaged)}", file=sys.stderr, flush=True)
    return bool(damaged)


def main() -> None:
    """Run the pipeline, or the demo."""
    first_run = not (ROOT / "data/raw").exists() and not (ROOT / ".dvc/cache").exists()
    if first_run and (title := unreachable()):
        from tools import demo

        print(f"No source of {title} can be reached: running the demo instead, on scikit-learn's digits.", flush=True)
        sys.exit(demo.main())
    say_damaged()
    before = LOCK.read_bytes() if LOCK.exists() else b""
    # Of a fresh clone DVC would run no stage whose results are in git already; a first run is to show that all can.
    reproduce(*(["--force"] if first_run else []))
    # What DVC took from its cache for another dvc.lock may be damaged, and later stages may have read it.
    if LOCK.read_bytes() != before and say_damaged():
        reproduce("--force", "--no-run-cache")
    print(summary(ROOT))


if __name__ == "__main__":
    run_stage(main)
