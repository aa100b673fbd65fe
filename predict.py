"""Classify images of any size and most formats: photos of ink on paper, or white on black; or a CSV file of pixels."""

import argparse
import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field

from mnist.core.data import DataSummary, read_data_summary
from mnist.core.errors import UserError, run_stage
from mnist.core.files import atomic_write, write_csv
from mnist.core.params import Params, read_params
from mnist.core.paths import MODEL
from mnist.handwriting import FORMATS, find_ink, fit_ink, is_laid_out, open_image, resize, to_grey
from mnist.model.weights import DenseLayer, read_weights
from mnist.paper import is_single_shape
from mnist.style import format_probability

SUFFIXES = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}


class PredictParams(Params):
    """The section predict of params.yaml."""

    section = "predict"
    unsure_below: Annotated[float, Field(ge=0, le=1)]


def find_images(top: Path) -> list[Path]:
    """The images in a folder, by name, or the path itself if it is not a folder."""
    return sorted(p for p in top.iterdir() if p.suffix.lower() in SUFFIXES) if top.is_dir() else [top]


def prepare(image: Image.Image, data: DataSummary) -> np.ndarray:
    """Convert an image to one like the training images, uint8 (height, width); an image that is so is unchanged.

    Where the data set is not prepared, it is only resized. UserError if it has no ink, or if the classes are digits and
    the ink of a larger image is not one shape.
    """
    grey = np.asarray(to_grey(image))
    if not data.prepare:
        return resize(grey, data.image_shape)
    if is_laid_out(grey, data):
        return grey
    ink = find_ink(Image.fromarray(grey))
    if not ink.any():
        blank = np.ptp(grey) == 0
        raise UserError(
            "is blank: all its pixels have one colour" if blank else "shows no ink that stands out from paper"
        )
    larger = grey.shape != data.image_shape  # one of that size hardly has room for several digits
    if larger and set(data.classes) <= set("0123456789") and not is_single_shape(ink):
        raise UserError("shows no single digit: its ink is in separate shapes; crop it to one digit")
    return fit_ink(ink, data.image_shape, data.box)


def open_images(path: Path, data: DataSummary) -> dict[str, Image.Image]:
    """Open an image file, or each row of a CSV file of pixels, by name; UserError if the file is unusable."""
    if path.suffix.lower() != ".csv":
        return {str(path): open_image(path)}
    from mnist.dataset.table import read_table  # here, because importing pandas takes half a second

    images, _ = read_table(path, data.image_shape)
    return {f"{path}, image {number}": Image.fromarray(image) for number, image in enumerate(images, 1)}


def read_images(path: Path, data: DataSummary) -> dict[str, np.ndarray | str]:
    """The images of a file by name, prepared like the training images, uint8 (height, width), or why they are not."""
    try:
        opened = open_images(path, data)
    except UserError as error:
        return {str(path): str(error).removeprefix(str(path)).lstrip(": ")}
    images: dict[str, np.ndarray | str] = {}
    for name, image in opened.items():
        try:
            images[name] = prepare(image, data)
        except UserError as error:
            images[name] = str(error)
    return images


def predict(layers: list[DenseLayer], images: list[np.ndarray]) -> np.ndarray:
    """The probabilities, float32 (n, classes), for n prepared images, uint8 (height, width)."""
    from mnist.model import network  # here, because importing TensorFlow takes seconds

    pixels = np.stack(images).reshape(len(images), -1).astype(np.float32) / 255
    return network.predict(layers, pixels)[0]


def classify(paths: list[Path], data: DataSummary, limit: float, show: Path | None) -> list[dict]:
    """The path, label and probabilities by class of each image, or its path and error; `show` gets prepared images.

    A label is unsure if its probability is below the limit.
    """
    layers = read_weights(MODEL, data)
    entries: list[dict] = []
    readable, images = [], []
    for name, image in (item for path in paths for item in read_images(path, data).items()):
        entries.append({"path": name})
        if isinstance(image, str):
            entries[-1]["error"] = image
            continue
        readable.append(entries[-1])
        images.append(image)
        if show:
            # Numbered, because images in several folders may have one name; shortened, because a name has 255 bytes.
            with atomic_write(show / f"{len(entries):05}_{Path(name).name[-50:]}.png") as partial:
                Image.fromarray(image).save(partial, "PNG")
    for entry, row in zip(readable, predict(layers, images) if images else (), strict=True):
        entry["label"] = data.classes[row.argmax()]
        entry["unsure"] = bool(row.max() < limit)
        entry["probabilities"] = {name: round(float(p), 6) for name, p in zip(data.classes, row, strict=True)}
    return entries


def main() -> None:
    """Classify images; exit with status 1 if one of them is unusable."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="an image, a folder of them, or a .csv of pixels"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON: per image its path, label, unsure and probabilities, or its path and error",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write Kaggle's answer file: ImageId, Label")
    parser.add_argument("--show", type=Path, metavar="FOLDER", help="write the prepared images to this folder")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # for names that are not UTF-8
    for path in options.images:
        if path.is_dir() and any(entry.is_dir() for entry in path.iterdir()):
            print(f"{path}: images in its sub-folders are not read; name these: {path}/*/", file=sys.stderr)
    paths = [file for path in options.images for file in find_images(path)]
    if not paths:
        raise UserError(f"no image in {', '.join(map(str, options.images))}")
    limit = read_params(PredictParams).unsure_below
    entries = classify(paths, read_data_summary(), limit, options.show)
    if options.json:
        print(json.dumps(entries, indent=2, ensure_ascii=sys.stdout.encoding.lower() != "utf-8"))
    if options.csv:
        # A link is followed, not replaced; a pipe has no path to follow to.
        pipe = options.csv.exists() and not options.csv.is_file()
        target = options.csv if pipe else options.csv.resolve()
        write_csv(target, ["ImageId", "Label"], ((n, entry.get("label")) for n, entry in enumerate(entries, 1)))
        print(f"{options.csv}: {sum('label' in entry for entry in entries):,} labels", file=sys.stderr)
    for entry in entries:
        if "error" in entry:
            print(f"{entry['path']}: {entry['error']}", file=sys.stderr)
        elif not (options.json or options.csv):
            probability = format_probability(entry["probabilities"][entry["label"]], 1)
            print(f"{entry['path']}: {entry['label']}, {probability}{', unsure' if entry['unsure'] else ''}")
    sys.exit(any("error" in entry for entry in entries))


if __name__ == "__main__":
    run_stage(main)
