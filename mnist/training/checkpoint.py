"""The state of a training after each epoch, from which an interrupted training resumes, to the same bits."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mnist.core.files import atomic_write
from mnist.core.paths import CHECKPOINTS, relative
from mnist.model.backend import keras, tf


def fingerprint(*parts: Any) -> bytes:
    """SHA-256 of arrays by their values, and of all else by its representation; 32 bytes."""
    total = hashlib.sha256()
    for part in parts:
        content = np.ascontiguousarray(part).data if isinstance(part, np.ndarray) else repr(part).encode()
        total.update(hashlib.sha256(content).digest())
    return total.digest()


def code_and_versions() -> list[str]:
    """What computes: library versions, and the source of each loaded module of the project."""
    roots = ("__main__", "mnist", "stages")
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] in roots]
    files = {Path(name) for name in (getattr(module, "__file__", None) for module in modules) if name}
    versions = [tf.__version__, keras.__version__, np.__version__]
    return [*versions, *(file.read_text() for file in sorted(files))]


class Checkpoint:
    """A file with the state of an unfinished training, named by a hash of what decides it; none if not `active`."""

    def __init__(self, run_fingerprint: bytes, variables: list[keras.Variable], *, active: bool = True) -> None:
        self.path = CHECKPOINTS / f"{run_fingerprint.hex()[:32]}.npz"
        self.variables, self.active = variables, active

    def load(self) -> list[list[float]]:
        """Restore the variables; return the history, a row per epoch, empty without a valid file."""
        if not self.active or not self.path.exists():
            return []
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                history, *values = (saved[f"arr_{n}"] for n in range(len(self.variables) + 1))
        except Exception as error:  # corrupt archives have raised seven types; without this file nothing is lost
            print(f"train: {relative(self.path)} is corrupt ({error!r}); training starts again", file=sys.stderr)
            return []
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        return history.tolist()

    def save(self, history: list[list[float]]) -> None:
        """Write the current state; it replaces the earlier one."""
        if self.active:
            with atomic_write(self.path) as partial, partial.open("wb") as file:
                np.savez(file, np.array(history), *(variable.numpy() for variable in self.variables))

    def delete(self) -> None:
        """Delete the file of a finished training."""
        if self.active:
            self.path.unlink(missing_ok=True)
