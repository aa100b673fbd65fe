"""The preprocessed data, as the later stages read it."""

import math
from dataclasses import dataclass

import numpy as np

from stages.lib.errors import UserError
from stages.lib.files import read_array, read_json
from stages.lib.paths import DATA, images_of, labels_of, relative


@dataclass(frozen=True)
class Data:
    """What reports/data.json says of the data; `split` gives the arrays."""

    dataset: str
    title: str
    classes: list[str]
    image_shape: tuple[int, int]
    box: int
    validated_on: str
    sizes: dict[str, int]

    @property
    def pixels(self) -> int:
        """Numbers in a flattened image: height times width."""
        return math.prod(self.image_shape)

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Map a split (train, validation or test) into memory.

        Returns:
            Images, float32 (n, pixels), 0 to 1, and labels, uint8 (n,).

        Raises:
            UserError: a file is missing, damaged, or of another data set.
        """
        size = self.sizes[name]
        return (
            read_array(images_of(name), np.float32, (size, self.pixels)),
            read_array(labels_of(name), np.uint8, (size,)),
        )


def read_data() -> Data:
    """Read reports/data.json, which the preprocess stage writes.

    Raises:
        UserError: it is missing or not what that stage writes.
    """
    content = read_json(DATA)
    try:
        height, width = content["image_shape"]
        return Data(
            dataset=content["dataset"],
            title=content["title"],
            classes=[row["class"] for row in content["class_counts"]],
            image_shape=(height, width),
            box=content["box"],
            validated_on=content["validated_on"],
            sizes={name: split["n"] for name, split in content["splits"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{relative(DATA)} lacks what preprocess writes ({error!r}); run `dvc repro`") from None
