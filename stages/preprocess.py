"""Preprocess: scale the pixels to 0..1, flatten the images, and hold some out for validation.

Reads data/raw/; writes data/processed/{train,validation,test}_{images,labels}.npy and reports/data.json.
Works a piece at a time, so that its memory does not grow with the number of images.
"""

import math
from contextlib import ExitStack
from typing import Annotated

import numpy as np
from pydantic import Field

from stages.lib.catalogue import DownloadParams, find_dataset
from stages.lib.errors import UserError, run_stage
from stages.lib.files import write_json
from stages.lib.params import Params, read_params
from stages.lib.paths import DATA
from stages.lib.split import PublishedHalf, Split


class PreprocessParams(Params):
    """How the training images are split."""

    section = "preprocess"
    validation_size: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


def choose_held_out(count: int, validation_size: int, seed: int) -> np.ndarray:
    """Choose the images to validate on, each with the same chance.

    Returns:
        bool (count,), True for `validation_size` of them; the same for the same seed.

    Raises:
        UserError: nothing would be left to train on.
    """
    if validation_size >= count:
        raise UserError(
            f"params.yaml: preprocess.validation_size is {validation_size}, but should be less than the {count} "
            "training images of the data set"
        )
    held_out = np.zeros(count, bool)
    held_out[np.random.default_rng(seed).choice(count, validation_size, replace=False, shuffle=False)] = True
    return held_out


def fill(splits: dict[str, Split], train: PublishedHalf, test: PublishedHalf, held_out: np.ndarray) -> None:
    """Write the images and labels of all splits, each in its published order.

    Args:
        splits: train, validation and test, just opened.
        train: the published training images.
        test: the published test images.
        held_out: bool (training images,), True for those to validate on; with none, the test images are.
    """
    start = 0
    for images, labels in train.pieces():
        out = held_out[start : start + len(labels)]
        splits["train"].add(images[~out], labels[~out])
        splits["validation"].add(images[out], labels[out])
        start += len(labels)
    for images, labels in test.pieces():
        splits["test"].add(images, labels)
        if not held_out.any():
            splits["validation"].add(images, labels)


def main() -> None:
    """Run the stage."""
    params = read_params(PreprocessParams)
    dataset_name = read_params(DownloadParams).dataset
    dataset = find_dataset(dataset_name)
    with ExitStack() as files:
        train = PublishedHalf("train", dataset, files)
        test = PublishedHalf("t10k", dataset, files)
        if train.shape[1:] != test.shape[1:]:
            raise UserError(
                f"data/raw: the training images are {train.shape[1:]} pixels, the test images {test.shape[1:]}; "
                "the files of a data set should have images of one size"
            )
        held_out = choose_held_out(train.shape[0], params.validation_size, params.seed)
        sizes = {
            "train": train.shape[0] - params.validation_size,
            "validation": params.validation_size or test.shape[0],
            "test": test.shape[0],
        }
        pixels, classes = math.prod(train.shape[1:]), len(dataset.classes)
        splits = {name: Split(name, size, pixels, classes, files) for name, size in sizes.items()}
        fill(splits, train, test, held_out)
    summary = {
        "dataset": dataset_name,
        "title": dataset.title,
        "image_shape": list(train.shape[1:]),
        "box": min(dataset.box or max(train.shape[1:]), *train.shape[1:]),
        "validated_on": "held-out training images" if params.validation_size else "test images",
        "splits": {name: split.statistics() for name, split in splits.items()},
        "class_counts": [
            {"class": name, **{split: int(splits[split].class_counts[index]) for split in splits}}
            for index, name in enumerate(dataset.classes)
        ],
    }
    write_json(DATA, summary)
    print(f"preprocess: {', '.join(f'{size:,} {name}' for name, size in sizes.items())} images")
    if params.validation_size == 0:
        print("preprocess: validation_size is 0: validating on the test images, so val_ figures are not held out")


if __name__ == "__main__":
    run_stage(main)
