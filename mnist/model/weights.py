"""The weights of a saved network, read without TensorFlow, whose import takes longer than any use of them."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from mnist.core.errors import UserError
from mnist.core.files import missing_file
from mnist.core.paths import relative


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer: activation(inputs @ kernel + bias)."""

    kernel: np.ndarray
    """Float32 (inputs, units)."""
    bias: np.ndarray
    """Float32 (units,)."""
    activation: str
    """Its name in Keras."""


def read_weights(path: Path) -> list[DenseLayer]:
    """Read the layers of a network as train saves it, input side first.

    A .keras file is a zip of config.json, which describes the layers, and model.weights.h5, with a group per layer of
    the same name. Nothing in it is compressed, so its size bounds the memory that a reader takes.

    Raises:
        UserError: the file is missing, or is not a stack of dense layers with the weights that it describes.
    """
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as file:
            if sum(entry.file_size for entry in file.infolist()) > size:
                raise ValueError("its uncompressed contents exceed the archive")
            config = json.loads(file.read("config.json"))["config"]["layers"]
            content = io.BytesIO(file.read("model.weights.h5"))
        with h5py.File(content) as weights:
            variables = {group["vars"].attrs["name"]: group["vars"] for group in weights["layers"].values()}
            first, *dense = (layer["config"] for layer in config)
            inputs, layers = first["batch_shape"][1], []
            for layer in dense:
                kernel, bias = (variables[layer["name"]][part] for part in ("0", "1"))
                units = layer["units"]
                if kernel.nbytes > size or (kernel.shape, bias.shape) != ((inputs, units), (units,)):
                    raise ValueError(f"the weights of {layer['name']} differ in shape from its description")
                layers.append(DenseLayer(kernel[()], bias[()], layer["activation"]))
                inputs = units
            return layers
    except FileNotFoundError:
        raise missing_file(path) from None
    except Exception as error:  # for a corrupt file zipfile and h5py raise almost any type
        raise model_error(path, error) from None


def model_error(path: Path, error: Exception) -> UserError:
    """The error for a file that cannot be loaded as a model."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(f"{relative(path)} cannot be loaded as a model ({reason}); run `dvc repro`")
