"""Preprocess: scale the pixels to 0..1, flatten the images, and hold some out for validation.

Reads data/raw/; writes data/processed/{train,validation,test}_{images,labels}.npy and reports/data.json.
"""

import math
from contextlib import ExitStack
from typing import Annotated

import numpy as np
from pydantic import Field

from mnist.core.data import TEST_IMAGES
from mnist.core.errors import UserError, run_stage
from mnist.core.files import write_json
from mnist.core.params import Params, read_params
from mnist.core.paths import DATA_SUMMARY
from mnist.dataset.catalogue import DownloadParams, find_dataset
from mnist.dataset.split import RawSplit, SplitWriter


class PreprocessParams(Params):
    """How the training images are split."""

    section = "preprocess"
    validation_size: Annotated[float, Field(ge=0)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


def choose_held_out(count: int, validation_size: float, seed: int) -> np.ndarray:
    """Choose the validation images at random: bool (count,), True for them. UserError if no other image is left.

    `validation_size` is their number, or below 1 a fraction, rounded up as scikit-learn's `train_test_split` does.
    """
    size = math.ceil(validation_size * count if validation_size < 1 else validation_size)
    problem = None
    if size >= count:
        problem = f"leave some of the {count} training images to train on"
    elif validation_size > 1 and size != validation_size:
        problem = "be a number of images, or a fraction below 1"
    if problem:
        raise UserError(f"params.yaml: preprocess.validation_size is {validation_size:.12g}, but should {problem}")
    held_out = np.zeros(count, bool)
    held_out[np.random.default_rng(seed).choice(count, size, replace=False, shuffle=False)] = True
    return held_out


def write_splits(writers: dict[str, SplitWriter], train: RawSplit, test: RawSplit, held_out: np.ndarray) -> None:
    """Write the splits, each in published order; `held_out`, bool (n,), marks training images to validate on."""
    start = 0
    for images, labels in train.chunks():
        out = held_out[start : start + len(labels)]
        writers["train"].append(images[~out], labels[~out])
        writers["validation"].append(images[out], labels[out])
        start += len(labels)
    for images, labels in test.chunks():
        writers["test"].append(images, labels)
        if not held_out.any():
            writers["validation"].append(images, labels)


def main() -> None:
    """Run the stage."""
    params = read_params(PreprocessParams)
    dataset_name = read_params(DownloadParams).dataset
    dataset = find_dataset(dataset_name)
    with ExitStack() as files:
        train, test = (RawSplit(name, dataset, files) for name in ("train", "t10k"))
        image_shape = train.shape[1:]
        if image_shape != test.shape[1:]:
            raise UserError(f"data/raw: the images should have one size, not {image_shape} and {test.shape[1:]}")
        held_out = choose_held_out(train.shape[0], params.validation_size, params.seed)
        held, tested = int(held_out.sum()), test.shape[0]
        sizes = {"train": train.shape[0] - held, "validation": held or tested, "test": tested}
        classes = len(dataset.classes)
        writers = {name: SplitWriter(name, size, image_shape, classes, files) for name, size in sizes.items()}
        write_splits(writers, train, test, held_out)
    summary = {
        "dataset": dataset_name,
        "title": dataset.title,
        "image_shape": list(image_shape),
        "prepare": dataset.prepare,
        "box": writers["train"].box(),
        "centred": writers["train"].centred(),
        "validated_on": "held-out training images" if held else TEST_IMAGES,
        "splits": {name: writer.statistics() for name, writer in writers.items()},
        "class_counts": [
            {"class": name, **{split: int(writer.class_counts[index]) for split, writer in writers.items()}}
            for index, name in enumerate(dataset.classes)
        ],
    }
    write_json(DATA_SUMMARY, summary)
    print(f"preprocess: {', '.join(f'{size:,} {name}' for name, size in sizes.items())} images")
    if not held:
        print("preprocess: validation_size is 0: validating on the test images, so val_ figures are not held out")


if __name__ == "__main__":
    run_stage(main)
