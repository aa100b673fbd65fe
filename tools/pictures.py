"""Load the images of your own data set in one size: unchanged, or prepared as predict.py prepares them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mnist.core.errors import UserError
from mnist.handwriting import find_ink, fit_ink, open_image, resize, to_grey
from mnist.paper import is_dark_on_light
from tools.sources import Split

BOX = 20 / 28  # of the ink in MNIST's images, as a fraction of their side


@dataclass(frozen=True)
class Pictures:
    """The images of a split: uint8 (n, height, width), their classes, integers (n,), and where each comes from."""

    images: np.ndarray
    classes: np.ndarray
    origins: list[str]

    def select(self, indices: np.ndarray) -> "Pictures":
        """The images at some indices."""
        return Pictures(self.images[indices], self.classes[indices], [self.origins[index] for index in indices])


@dataclass(frozen=True)
class Shaping:
    """The target size and orientation, and whether to prepare the images: always, never, or auto."""

    image_shape: tuple[int, int]
    prepare: str
    transpose: bool

    def fit(self, grey: np.ndarray) -> np.ndarray:
        """Resize or prepare grey levels, uint8 (any height, any width): uint8 `image_shape`."""
        if self.prepare == "never":
            return resize(grey, self.image_shape)
        ink = find_ink(Image.fromarray(grey))
        return fit_ink(ink, self.image_shape, max(1, round(BOX * min(self.image_shape))))


def load_pictures(
    splits: Sequence[Split], index_of: Mapping[str, int], shaping: Shaping
) -> tuple[list[Pictures], bool, list[str]]:
    """Load the images of all splits; return them, whether they were prepared, and the files left out with the reason.

    With auto, images stay unchanged if all of them have the right size and are white on black.
    """
    parts, exact, left_out = [], [], []
    for split in splits:
        images, kept = [], []
        for index, item in enumerate(tqdm(split.images, unit="image", leave=False, disable=None)):
            try:
                picture = open_image(item) if isinstance(item, Path) else Image.fromarray(item)
                grey = np.asarray(to_grey(picture))
            except UserError as error:
                left_out.append(f"{item}: {error}")
                continue
            grey = grey.T if shaping.transpose else grey
            exact.append(grey.shape == shaping.image_shape)
            images.append(grey if exact[-1] else shaping.fit(grey))  # at once, since photos are large
            kept.append(index)
        if not kept:
            raise UserError("\n".join(["no image can be read", *left_out[:10]]))
        classes = np.array([index_of[split.labels[index]] for index in kept])
        origins = [str(split.images[i] if isinstance(split.images, list) else f"image {i + 1}") for i in kept]
        parts.append(Pictures(np.stack(images), classes, origins))
    decided = {"always": True, "never": False}.get(shaping.prepare)
    together = np.concatenate([part.images for part in parts])
    # An image that fills the frame may look dark on light: 2 of the 70,000 of Fashion-MNIST do.
    white_on_black = is_dark_on_light(together).mean() < 0.01
    prepared = not (all(exact) and white_on_black) if decided is None else decided
    if prepared:
        waiting = iter(exact)
        for part in parts:
            for index, grey in enumerate(tqdm(part.images, unit="image", leave=False, disable=None)):
                if next(waiting):
                    part.images[index] = shaping.fit(grey)
    return parts, prepared, left_out
