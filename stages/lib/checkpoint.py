"""The state of a training after each epoch, from which the same training goes on after a fault, to the same bits."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.backend import keras, tf
from stages.lib.cluster import Cluster
from stages.lib.files import new_file
from stages.lib.paths import CHECKPOINTS, relative


def fingerprint(*parts: Any) -> bytes:
    """SHA-256 of what decides a training: arrays by their values, all else by its representation; 32 bytes."""
    total = hashlib.sha256()
    for part in parts:
        content = np.ascontiguousarray(part).data if isinstance(part, np.ndarray) else repr(part).encode()
        total.update(hashlib.sha256(content).digest())
    return total.digest()


def program() -> list[str]:
    """What computes: the source of each module of the project that is loaded, and the libraries' versions."""
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] in ("__main__", "stages")]
    files = {Path(name) for name in (getattr(module, "__file__", None) for module in modules) if name}
    return [tf.__version__, keras.__version__, np.__version__, *(file.read_text() for file in sorted(files))]


def identity_of(decided_by: Sequence[Any], data: Sequence[np.ndarray], cluster: Cluster) -> bytes:
    """A fingerprint of a training; of the data, each worker reads its share.

    Raises:
        UserError: the workers would not train the same.
    """
    common = fingerprint(*decided_by)
    cluster.agree(
        common,
        "has not the same parameters, source files or library versions as worker 0: bring all to the same commit and "
        "the same requirements.txt",
    )
    shares = fingerprint(*(array[cluster.share(len(array))] for array in data))
    return fingerprint(common, cluster.gather(np.frombuffer(shares, ">u4")))


class Checkpoint:
    """A file with the variables and the history of a training, outside of DVC's outputs, until these are written.

    The chief of a cluster has it, and the others get from it what it holds.
    """

    def __init__(self, identity: bytes, variables: list[keras.Variable], cluster: Cluster) -> None:
        """Name the file after what decides the training, so that no other training takes it up.

        Args:
            identity: a fingerprint.
            variables: all that a training step reads and changes.
            cluster: the workers that train together.
        """
        self.path = CHECKPOINTS / f"{identity.hex()[:32]}.npz"
        self.variables = variables
        self.cluster = cluster

    def load(self) -> list[list[float]]:
        """Set the variables to what was saved; return the history, a row an epoch, empty if there is no file."""
        history = self._read() if self.cluster.chief else None
        shape = self.cluster.from_chief(np.array((0, 0) if history is None else history.shape)).astype(int)
        if not shape[0]:
            return []
        for variable in self.variables:
            variable.assign(self.cluster.from_chief(variable.numpy()))
        return self.cluster.from_chief(np.zeros(shape) if history is None else history).tolist()

    def _read(self) -> np.ndarray | None:
        """Read the file, if there is one; a damaged one counts as none."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                history, *values = (saved[f"arr_{n}"] for n in range(len(self.variables) + 1))
        except FileNotFoundError:
            return None
        except Exception as error:  # damaged archives have raised seven kinds; without this file nothing is lost
            print(f"train: {relative(self.path)} is damaged ({error!r}); training begins anew", file=sys.stderr)
            return None
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        return history

    def save(self, history: list[list[float]]) -> None:
        """Write the state of now, in the place of the one before."""
        if self.cluster.chief:
            with new_file(self.path) as partial, partial.open("wb") as file:
                np.savez(file, np.array(history), *(variable.numpy() for variable in self.variables))

    def delete(self) -> None:
        """Delete the file, whose training has ended."""
        if self.cluster.chief:
            self.path.unlink(missing_ok=True)
