"""The sources of `make dataset`: folders of images, CSV files in Kaggle's form, .npz files and IDX files."""

import gzip
import math
import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mnist.core.errors import UserError
from mnist.dataset.table import read_table, to_grey_levels

IDX_NAME = re.compile(r"(.*?)(train|test|t10k)[-_.](images|labels)[-_.]idx[13][-_.]ubyte(\.gz)?", re.IGNORECASE)
NPZ_NAMES = (("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels"))
SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")  # of Windows and macOS, beside hidden ones
MAX_NOTES = 10
KINDS = "a folder with a sub-folder per class, a .csv file, an .npz file, or IDX files"


@dataclass
class Split:
    """The images of a split and the label of each: files, or arrays, uint8 (height, width) or (height, width, 3)."""

    images: list[Path] | np.ndarray
    labels: list[str]


@dataclass
class Source:
    """The splits of a source, without `test` where it has none."""

    train: Split
    test: Split | None
    classes: list[str] = field(default_factory=list)  # those that need not have an image
    transposed: bool = False  # rows and columns are exchanged, as in all files of EMNIST
    notes: list[str] = field(default_factory=list)


def read_source(path: Path, image_shape: tuple[int, int]) -> Source:
    """Read a source, of whichever kind it is; UserError if it is none, or not valid."""
    if not path.exists():
        raise UserError(f"{path} does not exist; FROM should be {KINDS}")
    folder = path if path.is_dir() else path.parent
    if IDX_NAME.fullmatch(path.name) or (path.is_dir() and any(IDX_NAME.fullmatch(each.name) for each in _list(path))):
        return _read_idx_files(folder, path)
    if path.is_dir() and (classes := _sub_folders(path)):
        return _read_folder(path, classes)
    tables = [each for each in _list(folder) if each.suffix.lower() in (".csv", ".npz")] if path.is_dir() else [path]
    training = [each for each in tables if "train" in each.name.lower()] if len(tables) > 1 else tables
    if len(training) != 1:
        names = ", ".join(each.name for each in tables)
        raise UserError(f"{path} has no sub-folders; FROM should be {KINDS}" + (f" (one of {names})" if names else ""))
    table = training[0]
    if table.suffix.lower() == ".npz":
        return _read_npz(table)
    if table.suffix.lower() == ".csv":
        return _read_tables(table, image_shape)
    hint = "unpack it, and name the folder" if zipfile.is_zipfile(table) else f"FROM should be {KINDS}"
    raise UserError(f"{table} is not a source of images; {hint}")


def natural_key(name: str) -> tuple[bool, int, str]:
    """The key that sorts names: numbers by their value, before other names."""
    return not name.isdecimal(), int(name) if name.isdecimal() else 0, name


def _list(folder: Path) -> list[Path]:
    """The content of a folder by name, without hidden files and those of the system."""
    entries = [each for each in folder.iterdir() if each.name.lower() not in SYSTEM_FILES]
    return sorted(each for each in entries if not each.name.startswith((".", "__")))


def _sub_folders(folder: Path) -> list[Path]:
    return [each for each in _list(folder) if each.is_dir()]


def _read_folder(path: Path, folders: list[Path]) -> Source:
    """Read a folder with a sub-folder per class, or with folders train and test of such."""
    parts = {each.name.lower(): each for each in folders}
    others = [each for each in _list(path) if each not in folders]
    if {"train", "test"} <= parts.keys():
        others += [each for each in folders if each not in (parts["train"], parts["test"])]
        splits = [_sub_folders(parts[name]) for name in ("train", "test")]
        others += [] if splits[1] else [parts["test"]]
    else:
        splits = [folders, []]
    if not splits[0]:
        raise UserError(f"{path} has no sub-folder per class; FROM should be {KINDS}")
    notes = [f"not used: {each}" for each in others[:MAX_NOTES]]
    notes += [f"not used: {len(others) - MAX_NOTES:,} more in {path}"] if len(others) > MAX_NOTES else []
    names = [unicodedata.normalize("NFC", each.name) for split in splits for each in split]
    train, test = (_list_images(split) for split in splits)
    return Source(train, test if splits[1] else None, list(dict.fromkeys(names)), notes=notes)


def _list_images(folders: list[Path]) -> Split:
    """The files of each class, at any depth of its folder."""
    split = Split([], [])
    for folder in folders:
        files = [each for each in _walk(folder) if each.is_file()]
        split.images += files
        split.labels += [unicodedata.normalize("NFC", folder.name)] * len(files)
    return split


def _walk(folder: Path) -> Iterator[Path]:
    for each in _list(folder):
        yield from _walk(each) if each.is_dir() else [each]


def _read_tables(path: Path, image_shape: tuple[int, int]) -> Source:
    """Read a CSV file of training images, and one of test images that is named like it."""
    images, labels = read_table(path, image_shape)
    if labels is None:
        raise UserError(f"{path} has no column of labels; predict.py --csv classifies such images")
    source = Source(Split(images, labels), None, transposed=_is_emnist(path))
    beside = path.with_name(re.sub("train", "test", path.name, flags=re.IGNORECASE))
    if beside != path and beside.exists():
        images, labels = read_table(beside, image_shape)
        source.test = None if labels is None else Split(images, labels)
        remedy = f"; to classify it: python predict.py {beside} --csv answers.csv"
        unlabelled = f"not used: {beside} has no labels{'' if source.transposed else remedy}"
        source.notes = [unlabelled] if labels is None else []
    return source


def _read_npz(path: Path) -> Source:
    """Read an .npz file with the names of Keras's mnist.npz, or those of MedMNIST."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = next((names for names in NPZ_NAMES if set(names[:2]) <= set(file.files)), None)
            if not names:
                raise UserError(f"{path} has the arrays {', '.join(file.files)}; expected {', '.join(NPZ_NAMES[0])}")
            arrays = [file[name] for name in names if name in file.files]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is not a valid .npz file: {error}") from None
    splits = []
    for images, labels in zip(arrays[::2], arrays[1::2], strict=False):
        if images.ndim < 3 or images.shape[3:] not in ((), (1,), (3,)) or labels.size != len(images) or not len(images):
            shapes = f"images {images.shape} and labels {labels.shape}"
            raise UserError(f"{path} has {shapes}, expected (n, height, width) and (n,)")
        grey = to_grey_levels(images, str(path))
        integers = labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all())
        values = labels.ravel().astype(int) if integers else labels.ravel()
        splits.append(Split(grey[..., 0] if grey.shape[3:] == (1,) else grey, [str(value) for value in values]))
    return Source(splits[0], splits[1] if len(splits) > 1 else None, transposed=_is_emnist(path))


def _read_idx_files(folder: Path, path: Path) -> Source:
    """Read the IDX files of a folder; `path` names one of them if those of several data sets are in it."""
    found: dict[str, dict[str, Path]] = {}
    for each in _list(folder):
        if each.is_file() and (match := IDX_NAME.fullmatch(each.name)):
            split = "train" if match[2].lower() == "train" else "test"
            found.setdefault(match[1], {})[f"{split} {match[3].lower()}"] = each
    named = IDX_NAME.fullmatch(path.name)
    if not named and len(found) > 1:
        names = ", ".join(min(files.values()).name for files in found.values())
        raise UserError(f"{folder} has several data sets; name a file of the one to read, such as {names}")
    prefix = named[1] if named else next(iter(found))
    files, splits = found[prefix], []
    for split in ("train", "test") if any(name.startswith("test") for name in files) else ("train",):
        for kind in ("images", "labels"):
            if f"{split} {kind}" not in files:
                raise UserError(f"{folder} has no IDX file of the {split} {kind} beside {min(files.values()).name}")
        images, labels = _read_idx(files[f"{split} images"], 3), _read_idx(files[f"{split} labels"], 1)
        if len(images) != len(labels):
            raise UserError(f"{files[f'{split} images']} has {len(images)} images, but there are {len(labels)} labels")
        splits.append(Split(images, [str(label) for label in labels]))
    return Source(splits[0], splits[1] if len(splits) > 1 else None, transposed=_is_emnist(Path(prefix)))


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not, with at least one value."""
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is corrupt: {error}") from None
    start, expected = 4 + 4 * dimensions, bytes((0, 0, 0x08, dimensions))
    if len(content) < start or content[:4] != expected:
        raise UserError(f"{path} is not an IDX file of {'images' if dimensions == 3 else 'labels'}, unsigned bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if math.prod(shape) != len(content) - start or not math.prod(shape):
        raise UserError(f"{path} has {len(content) - start:,} values, but declares {' x '.join(map(str, shape))}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _is_emnist(path: Path) -> bool:
    return path.name.lower().startswith("emnist")
