"""`make dataset NAME=letters FROM=photos`: make a data set for the pipeline from your own images.

Reads a folder with a sub-folder per class, a CSV file in Kaggle's form, an .npz file like Keras's mnist.npz, or IDX
files; writes four IDX files in data/custom/NAME, and datasets/NAME.yaml.
"""

import argparse
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mnist.core.errors import UserError, run_stage
from mnist.core.files import atomic_write
from mnist.core.paths import DATASETS, ROOT, relative
from mnist.dataset.catalogue import FILES, Dataset, check_entry, check_name, find_dataset
from mnist.dataset.digits import gzip_stored, idx_bytes
from tools.pictures import Pictures, Shaping, load_pictures
from tools.sources import Source, natural_key, read_source

CUSTOM = ROOT / "data/custom"
NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]*")


def find_earlier(name: str) -> Dataset | None:
    """The data set of this name that an earlier call wrote; UserError if it is not from this command."""
    if not NAME_PATTERN.fullmatch(name):
        raise UserError(f"NAME is '{name}', but should be of a to z, 0 to 9 and _, and begin with a letter")
    path = DATASETS / f"{name}.yaml"
    earlier = find_dataset(name) if path.exists() else None
    if earlier and mirror_of(name) not in earlier.mirrors:
        raise UserError(f"{relative(path)} was not written by this command; choose another NAME")
    return earlier


def mirror_of(name: str) -> str:
    """The folder of the four files, from the project's root, so that it holds in every clone."""
    return f"{relative(CUSTOM / name)}/"


def name_classes(source: Source, names: list[str] | None, earlier: Dataset | None) -> tuple[list[str], dict[str, int]]:
    """The names of the classes, and the class of each label; names that were given to numbers earlier are kept."""
    found = {*source.classes, *source.train.labels, *(source.test.labels if source.test else [])}
    order = labels = sorted(found, key=natural_key)
    if not source.classes and all(label.isdecimal() and label == str(int(label)) for label in labels):
        low, high = int(labels[0]), int(labels[-1])
        if 2 * len(labels) > high - low + 1:  # otherwise the numbers between are no classes
            order = [str(number) for number in range(low, high + 1)]
        if names and len(names) > len(order):
            first = min(low, int(high >= len(names)))
            order = [str(number) for number in range(first, first + len(names))]
        if not names and earlier and len(earlier.classes) == len(order):
            names = earlier.classes
    names = names or order
    if len(names) != len(order) or not set(labels) <= set(order):
        raise UserError(f"--classes has {len(names)} names, but there are {len(order)} classes: {', '.join(order)}")
    if len(set(names)) < len(names):
        raise UserError(f"--classes should be unique names, got {', '.join(names)}")
    if not 2 <= len(names) <= 256:
        raise UserError(f"expected 2 to 256 classes, got {len(names)}: {', '.join(names[:3])}")
    for name in names:
        try:
            check_name(name)
        except ValueError as error:
            raise UserError(f"class {error}; rename it, or name all classes: --classes a,b,...") from None
    return names, {label: index for index, label in enumerate(order)}


def choose_test(classes: np.ndarray, test_size: Fraction, rng: np.random.Generator) -> np.ndarray:
    """Choose the test images at random: bool (n,), the same fraction of each class, but never all of its images."""
    chosen = np.zeros(len(classes), bool)
    for index in np.unique(classes):
        places = np.flatnonzero(classes == index)
        count = min(max(1, int(len(places) * test_size + Fraction(1, 2))), len(places) - 1)
        chosen[rng.choice(places, count, replace=False)] = True
    return chosen


def split_pictures(parts: list[Pictures], test_size: Fraction, seed: int, *, shuffle: bool) -> list[Pictures]:
    """The training and the test images, in a random order if `shuffle`; without test images some are chosen."""
    rng = np.random.default_rng(seed)
    if len(parts) == 1:
        test = choose_test(parts[0].classes, test_size, rng)
        if not test.any():
            raise UserError("no class has more than one image, so there are none to test on")
        parts = [parts[0].select(np.flatnonzero(~test)), parts[0].select(np.flatnonzero(test))]
    return [part.select(rng.permutation(len(part.classes))) if shuffle else part for part in parts]


def describe(parts: list[Pictures], names: list[str]) -> list[str]:
    """Count the images per class, and name what is unusual about them."""
    counts = [np.bincount(part.classes, minlength=len(names)) for part in parts]
    width = max(5, *map(len, names))
    rows = [(name, *(f"{count[index]:,}" for count in counts)) for index, name in enumerate(names)]
    rows += [("all", *(f"{count.sum():,}" for count in counts))]
    lines = [f"{name:<{width}}  {train:>9}  {test:>9}" for name, train, test in [("class", "training", "test"), *rows]]
    for count, split in zip(counts, ("training", "test"), strict=True):
        if len(empty := np.flatnonzero(count == 0)):
            effect = ", which the network cannot learn" if split == "training" else ""
            lines.append(f"classes without a {split} image{effect}: {', '.join(names[index] for index in empty)}")
    for part, split in zip(parts, ("training", "test"), strict=True):
        if len(plain := np.flatnonzero(np.ptp(part.images, axis=(1, 2)) == 0)):
            lines.append(f"{split} images of one colour: {len(plain):,}, such as {part.origins[plain[0]]}")
    first = {image.tobytes(): index for index, image in reversed([*enumerate(parts[0].images)])}
    pairs = [(first[image.tobytes()], index) for index, image in enumerate(parts[1].images) if image.tobytes() in first]
    if pairs:
        example = f"{parts[1].origins[pairs[0][1]]} and {parts[0].origins[pairs[0][0]]}"
        effect = "the test accuracy will be too high"
        lines.append(f"test images identical to a training image: {len(pairs):,}, such as {example}; {effect}")
    return lines


def write(name: str, parts: list[Pictures], entry: dict[str, Any]) -> None:
    """Write the four files and the data set's entry in the catalogue: all of them or none."""
    arrays = [array for part in parts for array in (part.images, part.classes.astype(np.uint8))]
    contents = {file: gzip_stored(idx_bytes(array)) for file, array in zip(FILES, arrays, strict=True)}
    path = DATASETS / f"{name}.yaml"
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    entry = {**entry, "files": {file: {"size": len(contents[file]), "sha256": hashes[file]} for file in FILES}}
    check_entry(entry, path)
    options: Any = {"allow_unicode": True, "sort_keys": False, "width": 120, "default_flow_style": None}
    comment = f"# Written by `make dataset NAME={name}`; after a change of the images run it again, then `dvc repro`."
    with ExitStack() as stack:
        partial = stack.enter_context(atomic_write(path))  # entered first, so it is renamed last
        for file, content in contents.items():
            stack.enter_context(atomic_write(CUSTOM / name / file)).write_bytes(content)
        text = f"{comment}\n{yaml.safe_dump(entry, **options)}"
        partial.write_text(text, encoding="utf-8", newline="\n")


def parse_size(text: str) -> tuple[int, int]:
    """Parse 28, or 28x20 (height x width), up to 1024."""
    match = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text)
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (1 <= height <= 1024 and 1 <= width <= 1024):
        raise argparse.ArgumentTypeError(f"is {text}, but should be 28, or 28x20, each 1 to 1024 pixels")
    return height, width


def parse_test_size(text: str) -> Fraction:
    """Parse 0.2, or 1/7."""
    try:
        size = Fraction(text)
    except (ValueError, ZeroDivisionError):
        size = Fraction(0)
    if not 0 < size < 1:
        raise argparse.ArgumentTypeError(f"is {text}, but should be a fraction between 0 and 1, such as 0.2 or 1/7")
    return size


def parse_seed(text: str) -> int:
    """Parse an integer from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"is {text}, but should be an integer, 0 or larger")
    return int(text)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.dataset", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="the data set's name: a to z, 0 to 9 and _")
    parser.add_argument("source", metavar="FROM", type=Path, help="a folder, a .csv, .npz or IDX file")
    parser.add_argument("--size", type=parse_size, default=(28, 28), help="pixels: 28, or 28x20 (height x width)")
    test_size = "fraction of each class that becomes test images, if the source has none (1/7)"
    parser.add_argument("--test-size", type=parse_test_size, default=Fraction(1, 7), help=test_size)
    parser.add_argument("--seed", type=parse_seed, default=1, help="for choosing test images and for the order")
    parser.add_argument("--transpose", action=argparse.BooleanOptionalAction, help="exchange rows and columns (EMNIST)")
    prepare = "scale and centre the ink as predict.py does; auto: unless all are white on black and of the right size; "
    prepare += "never: only resize images, here and in predict.py"
    parser.add_argument("--prepare", choices=("auto", "always", "never"), default="auto", help=prepare)
    parser.add_argument("--classes", type=lambda text: text.split(","), help="names of the classes, such as a,b,c")
    parser.add_argument("--title", help="the data set's name in figures and on the page")
    return parser.parse_args(arguments)


def main() -> None:
    """Make a data set."""
    options = parse_arguments()
    if options.source == Path():
        raise UserError("FROM is missing: make dataset NAME=letters FROM=photos")
    name, earlier = options.name, find_earlier(options.name)
    source = read_source(options.source.expanduser(), options.size)
    classes, index_of = name_classes(source, options.classes, earlier)
    transpose = source.transposed if options.transpose is None else options.transpose
    splits = [source.train, source.test] if source.test else [source.train]
    parts, prepared, left_out = load_pictures(splits, index_of, Shaping(options.size, options.prepare, transpose))
    parts = split_pictures(parts, options.test_size, options.seed, shuffle=isinstance(source.train.images, list))
    title = options.title or (earlier.title if earlier else name.replace("_", " "))
    mirrors = earlier.mirrors if earlier else [mirror_of(name)]
    entry = {"title": title, "mirrors": mirrors, "classes": classes, "prepare": options.prepare != "never"}
    write(name, parts, entry)

    resized = "only resized" if options.prepare == "never" else "unchanged"
    how = "prepared as predict.py prepares images" if prepared else resized
    height, width = options.size
    print(f"{sum(len(part.classes) for part in parts):,} images of {height} x {width} pixels, {how} (see --prepare)")
    if transpose and options.transpose is None:
        print("rows and columns exchanged, as in all files of EMNIST (see --no-transpose)")
    print("\n".join([*describe(parts, classes), *source.notes]))
    if left_out:
        print("\n  ".join([f"left out as unusable, {len(left_out):,}:", *left_out]))
    print(f"dataset: written to {relative(CUSTOM / name)} and {relative(DATASETS)}/{name}.yaml")
    activate = "" if os.environ.get("VIRTUAL_ENV") else ". .venv/bin/activate && "
    print(f"Next: {activate}dvc exp run -S download.dataset={name}; then open reports/index.html")


if __name__ == "__main__":
    run_stage(main)
