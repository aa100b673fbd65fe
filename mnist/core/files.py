"""Reading and writing artefacts: whole or not at all, and the same bytes for the same content."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mnist.core.errors import UserError
from mnist.core.paths import relative


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it is renamed to `path` on success, and deleted on an error.

    A device or a pipe, such as /dev/stdout, cannot be replaced: it is yielded itself.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    partial = path.with_name(f".partial-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a failed write, as on a full disk, does not name its file
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text with line feeds as line ends."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object, indented, keys in the order given."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with line feeds as line ends."""
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file."""
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.save(file, array)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that an earlier stage wrote; UserError if the file is missing or not a JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing_file(path) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{relative(path)} is not valid JSON ({error}); run `dvc repro`") from None
    if not isinstance(content, dict):
        raise UserError(f"{relative(path)} is not a JSON object; run `dvc repro`")
    return content


def read_array(path: Path, dtype: type[np.generic], shape: tuple[int | None, ...]) -> np.ndarray:
    """Map a .npy file, copy-on-write; UserError if missing, corrupt, or of another dtype or shape (None: any size)."""
    try:
        array = np.lib.format.open_memmap(path, mode="c")
    except FileNotFoundError:
        raise missing_file(path) from None
    except OSError:
        raise
    except Exception as error:  # NumPy parses the header as Python source: seven types have been seen
        raise UserError(f"{relative(path)} is not a valid .npy file ({error}); run `dvc repro`") from None
    matches = [want in (None, got) for want, got in zip(shape, array.shape, strict=False)]
    if array.dtype != dtype or len(array.shape) != len(shape) or not all(matches):
        expected = f"{np.dtype(dtype)} ({', '.join('n' if size is None else str(size) for size in shape)})"
        found = f"{relative(path)} is {array.dtype} {array.shape}"
        raise UserError(f"{found}, expected {expected}: it is of another data set or another run; run `dvc repro`")
    return array


def missing_file(path: Path) -> UserError:
    """The error for an input that does not exist."""
    return UserError(f"{relative(path)} is missing; run `dvc repro`, which runs the stage that writes it")
