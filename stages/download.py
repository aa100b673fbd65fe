"""Download: bring the four files of a data set, checked against their published size and SHA-256.

Reads nothing; writes data/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz.
"""

from contextlib import ExitStack
from pathlib import Path

from stages.lib.catalogue import Dataset, DownloadParams, find_dataset
from stages.lib.errors import run_stage
from stages.lib.fetch import fetch, sources_of
from stages.lib.files import new_file
from stages.lib.params import read_params
from stages.lib.paths import RAW, relative


def bring(dataset: Dataset, folder: Path) -> list[str]:
    """Bring the files that `folder` lacks, all of them or none.

    Returns:
        The sources that they came from, each once; empty when everything was there already.
    """
    wanted = [name for name, published in dataset.files.items() if not published.matches(folder / name)]
    sources = sources_of(dataset.mirrors)
    used: dict[str, None] = {}
    with ExitStack() as whole_set:
        for name in wanted:
            partial = whole_set.enter_context(new_file(folder / name))
            used[fetch(name, dataset.files[name], sources, partial)] = None
    return list(used)


def main() -> None:
    """Run the stage."""
    dataset = find_dataset(read_params(DownloadParams).dataset)
    used = bring(dataset, RAW)
    print(f"download: {dataset.title} in {relative(RAW)}, " + (f"from {', '.join(used)}" if used else "as it was"))


if __name__ == "__main__":
    run_stage(main)
