"""Download: the four files of a data set, checked against their published size and SHA-256.

Reads datasets/*.yaml; writes data/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz.
"""

from contextlib import ExitStack
from pathlib import Path

from mnist.core.errors import run_stage
from mnist.core.files import atomic_write
from mnist.core.params import read_params
from mnist.core.paths import RAW, relative
from mnist.dataset.catalogue import Dataset, DownloadParams, find_dataset
from mnist.dataset.fetch import fetch, list_sources


def download_files(dataset: Dataset, folder: Path) -> list[str]:
    """Download the files that `folder` lacks, all of them or none; return the sources used."""
    wanted = [name for name, published in dataset.files.items() if not published.matches(folder / name)]
    sources = list_sources(dataset)
    with ExitStack() as files:
        partials = {name: files.enter_context(atomic_write(folder / name)) for name in wanted}
        used = [fetch(name, dataset.files[name], sources, partial) for name, partial in partials.items()]
    return list(dict.fromkeys(used))


def main() -> None:
    """Run the stage."""
    dataset = find_dataset(read_params(DownloadParams).dataset)
    used = download_files(dataset, RAW)
    print(f"download: {dataset.title} in {relative(RAW)}, " + (f"from {', '.join(used)}" if used else "unchanged"))


if __name__ == "__main__":
    run_stage(main)
