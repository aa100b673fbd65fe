"""Tell which class the network sees in images: photos of ink on paper, or white on black, PNG or JPEG, of any size.

Each image is prepared as the data set's makers did it, like what is drawn on the report's pad.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from mnist.core.data import DataSummary, read_data_summary
from mnist.core.errors import UserError
from mnist.core.files import atomic_write, missing_file
from mnist.core.paths import MODEL
from mnist.handwriting import find_ink, fit_ink

ENDINGS = (".png", ".jpg", ".jpeg")


def find_images(paths: list[Path]) -> Iterator[Path]:
    """The files named, and in place of a folder the images in it, by name."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
        else:
            yield path


def prepare(path: Path, data: DataSummary) -> np.ndarray:
    """Read an image as the network is to see it, uint8 (height, width).

    Raises:
        UserError: the file cannot be read, is no PNG or JPEG, is damaged, too large, or shows nothing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                ink = find_ink(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError("has too many pixels to be opened safely; make it smaller") from None
    except UnidentifiedImageError:
        raise UserError("is no PNG or JPEG image") from None
    except (OSError, ValueError, SyntaxError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"cannot be read: {reason}") from None
    if not ink.any():
        raise UserError("shows nothing: it is of one colour")
    return fit_ink(ink, data.image_shape, data.box)


def predict(images: np.ndarray, data: DataSummary) -> np.ndarray:
    """The probability of each class, float32 (n, classes), for prepared images, uint8 (n, height, width)."""
    # Only now, because TensorFlow takes seconds to import: who misspelt a file's name should not wait for it.
    from mnist.model.network import predict as run_network
    from mnist.model.weights import read_weights

    layers = read_weights(MODEL, data)
    pixels = images.reshape(len(images), -1).astype(np.float32) / 255
    return run_network(layers, pixels, np.zeros(len(images), np.int32))[0]


def results(paths: list[Path], data: DataSummary, show: Path | None) -> list[dict[str, Any]]:
    """For each file its path, label and probabilities by class, or its path and the error.

    Args:
        paths: the files.
        data: what the network was trained on.
        show: a folder to write the prepared images to.
    """
    entries: list[dict[str, Any]] = [{"path": str(path)} for path in paths]
    prepared = []
    for path, entry in zip(paths, entries, strict=True):
        try:
            prepared.append(prepare(path, data))
        except UserError as error:
            entry["error"] = str(error)
            continue
        if show:
            with atomic_write(show / f"{'_'.join(path.parts).lstrip('/')}.png") as partial:
                Image.fromarray(prepared[-1]).save(partial, "PNG")
    readable = [entry for entry in entries if "error" not in entry]
    for entry, row in zip(readable, predict(np.stack(prepared), data) if prepared else (), strict=True):
        entry["label"] = data.classes[row.argmax()]
        entry["probabilities"] = {name: round(float(p), 6) for name, p in zip(data.classes, row, strict=True)}
    return entries


def main() -> int:
    """Predict; return the exit status, 1 if a file is no image that can be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="a PNG or JPEG file, or a folder of them")
    parser.add_argument(
        "--json", action="store_true", help="print a JSON list: path, and label and probabilities or error"
    )
    parser.add_argument("--show", type=Path, metavar="FOLDER", help="write there what the network saw of each image")
    options = parser.parse_args()
    try:
        data = read_data_summary()
        if not MODEL.exists():
            raise missing_file(MODEL)
        paths = list(find_images(options.images))
        if not paths:
            raise UserError(f"no file that ends in {', '.join(ENDINGS)} in {', '.join(map(str, options.images))}")
        entries = results(paths, data, options.show)
    except (UserError, OSError) as error:
        sys.exit(f"predict: {error}")
    if options.json:
        print(json.dumps(entries, indent=2, ensure_ascii=False))
    for entry in entries:
        if "error" in entry:
            print(f"{entry['path']}: {entry['error']}", file=sys.stderr)
        elif not options.json:
            print(f"{entry['path']}: {entry['label']}, {100 * entry['probabilities'][entry['label']]:.1f} %")
    return 1 if any("error" in entry for entry in entries) else 0


if __name__ == "__main__":
    sys.exit(main())
