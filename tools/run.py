"""`make`: run the pipeline and say how it went; on a first run that reaches no source, the demo instead."""

import sys

from tools.checkout import ROOT, run_dvc, summary


def unreachable() -> str | None:
    """The title of the data set if no source of it can be reached, tried with its smallest file."""
    import tempfile
    from pathlib import Path

    from stages.lib.catalogue import DownloadParams, find_dataset
    from stages.lib.errors import UserError
    from stages.lib.fetch import fetch, sources_of
    from stages.lib.params import read_params

    try:
        dataset = find_dataset(read_params(DownloadParams).dataset)
    except UserError:
        return None  # not a matter of sources; the download stage will say what it is
    name, published = min(dataset.files.items(), key=lambda item: item[1].size)
    with tempfile.TemporaryDirectory() as folder:
        try:
            fetch(name, published, sources_of(dataset.mirrors), Path(folder, name), stall=5, retry_after=())
        except UserError:
            return dataset.title
    return None


def main() -> int:
    """Run the pipeline, or the demo; return the exit status."""
    first_run = not (ROOT / "data/raw").exists() and not (ROOT / ".dvc/cache").exists()
    if first_run and (title := unreachable()):
        from tools import demo

        print(f"No source of {title} can be reached: running the demo instead, on scikit-learn's digits.", flush=True)
        return demo.main()
    # Of a fresh clone DVC would run no stage whose results are in git already; a first run is to show that all can.
    if status := run_dvc("repro", *(["--force"] if first_run else [])):
        return status
    print(summary(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
