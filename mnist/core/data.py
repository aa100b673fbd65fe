"""The preprocessed data, as the later stages read it."""

import math
from dataclasses import dataclass

import numpy as np

from mnist.core.errors import UserError
from mnist.core.files import read_array, read_json
from mnist.core.paths import DATA_SUMMARY, images_path, labels_path, relative

TEST_IMAGES = "test images"  # what training is validated on where no training images are held out


@dataclass(frozen=True)
class DataSummary:
    """The description of the data in reports/data.json; `load_split` gives the arrays."""

    dataset: str
    title: str
    classes: list[str]
    image_shape: tuple[int, int]
    prepare: bool
    box: int
    centred: bool
    validated_on: str
    sizes: dict[str, int]

    @property
    def pixels(self) -> int:
        """Length of a flattened image: height times width."""
        return math.prod(self.image_shape)

    def load_split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Map a split's images, float32 (n, pixels), and labels, uint8 (n,); UserError if one is missing or invalid."""
        size = self.sizes[name]
        images = read_array(images_path(name), np.float32, (size, self.pixels))
        return images, read_array(labels_path(name), np.uint8, (size,))


def read_data_summary() -> DataSummary:
    """Read reports/data.json; UserError if it is missing, or lacks a key that the preprocess stage writes."""
    content = read_json(DATA_SUMMARY)
    try:
        height, width = content["image_shape"]
        classes = [row["class"] for row in content["class_counts"]]
        sizes = {name: split["n"] for name, split in content["splits"].items()}
        unchanged = {key: content[key] for key in ("dataset", "title", "prepare", "box", "centred", "validated_on")}
        return DataSummary(classes=classes, image_shape=(height, width), sizes=sizes, **unchanged)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{relative(DATA_SUMMARY)} is not as the preprocess stage writes it ({error!r}); run `dvc repro`"
        ) from None
