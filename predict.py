"""Classify images, PNG or JPEG of any size: photos of ink on paper, or white on black."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mnist.core.data import DataSummary, read_data_summary
from mnist.core.errors import UserError, run_stage
from mnist.core.files import atomic_write
from mnist.core.paths import MODEL
from mnist.handwriting import find_ink, fit_ink, open_image
from mnist.model.weights import DenseLayer, read_weights


def find_images(top: Path) -> list[Path]:
    """The images in a folder, by name, or the path itself if it is not a folder."""
    return sorted(p for p in top.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg")) if top.is_dir() else [top]


def prepare(path: Path, data: DataSummary) -> np.ndarray:
    """Read an image, and prepare it like the training images, uint8 (height, width); a UserError if it is unusable."""
    ink = find_ink(open_image(path))
    if not ink.any():
        raise UserError("is empty: all of it has one colour")
    return fit_ink(ink, data.image_shape, data.box)


def predict(layers: list[DenseLayer], images: list[np.ndarray]) -> np.ndarray:
    """The probabilities, float32 (n, classes), for n prepared images, uint8 (height, width)."""
    from mnist.model import network  # here, because importing TensorFlow takes seconds

    pixels = np.stack(images).reshape(len(images), -1).astype(np.float32) / 255
    return network.predict(layers, pixels)[0]


def classify(paths: list[Path], data: DataSummary, show: Path | None) -> list[dict]:
    """The path, label and probabilities by class of each file, or its path and error; `show` gets prepared images."""
    layers = read_weights(MODEL, data)
    entries: list[dict] = [{"path": str(path)} for path in paths]
    readable, images = [], []
    for path, entry in zip(paths, entries, strict=True):
        try:
            images.append(prepare(path, data))
            readable.append(entry)
            if show:
                with atomic_write(show / f"{'_'.join(path.parts).lstrip('/')}.png") as partial:
                    Image.fromarray(images[-1]).save(partial, "PNG")
        except UserError as error:
            entry["error"] = str(error)
    for entry, row in zip(readable, predict(layers, images) if images else (), strict=True):
        entry["label"] = data.classes[row.argmax()]
        entry["probabilities"] = {name: round(float(p), 6) for name, p in zip(data.classes, row, strict=True)}
    return entries


def main() -> None:
    """Classify images; exit with status 1 if one of them is unusable."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="a PNG or JPEG file, or a folder of them")
    parser.add_argument("--json", action="store_true", help="print a list of path, label and probabilities, or error")
    parser.add_argument("--show", type=Path, metavar="FOLDER", help="write the prepared images to this folder")
    options = parser.parse_args()
    paths = [file for path in options.images for file in find_images(path)]
    if not paths:
        raise UserError(f"no .png, .jpg or .jpeg file in {', '.join(map(str, options.images))}")
    entries = classify(paths, read_data_summary(), options.show)
    if options.json:
        print(json.dumps(entries, indent=2, ensure_ascii=False))
    for entry in entries:
        if "error" in entry:
            print(f"{entry['path']}: {entry['error']}", file=sys.stderr)
        elif not options.json:
            print(f"{entry['path']}: {entry['label']}, {100 * entry['probabilities'][entry['label']]:.1f} %")
    sys.exit(any("error" in entry for entry in entries))


if __name__ == "__main__":
    run_stage(main)
