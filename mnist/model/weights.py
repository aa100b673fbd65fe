"""The weights of a saved network, read without TensorFlow, whose import takes longer than any use of them."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from mnist.core.data import DataSummary
from mnist.core.errors import UserError
from mnist.core.files import missing_file
from mnist.core.paths import relative

ACTIVATIONS = ("elu", "gelu", "leaky_relu", "relu", "selu", "sigmoid", "silu", "tanh")  # hidden layers' names in Keras


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer, activation(inputs @ kernel + bias); kernel is float32 (inputs, units), bias float32 (units,)."""

    kernel: np.ndarray
    bias: np.ndarray
    activation: str


def read_weights(path: Path, data: DataSummary) -> list[DenseLayer]:
    """Read the layers of a network, input side first; UserError if it is corrupt or for other data."""
    name, layers = _read_model(path)
    found = f"'{name}', {len(layers[0].kernel)} pixels, {len(layers[-1].bias)} classes"
    expected = f"'{data.dataset}', {data.pixels} pixels, {len(data.classes)} classes"
    if found != expected:
        raise UserError(f"{relative(path)} is a network for {found}; the data is {expected}: run `dvc repro`")
    return layers


def _read_model(path: Path) -> tuple[str, list[DenseLayer]]:
    """The name and the layers of a .keras file: a zip of their description and of an HDF5 file, a group per layer."""
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as file:  # nothing in it is compressed, so its size bounds the memory that it takes
            if sum(entry.file_size for entry in file.infolist()) > size:
                raise ValueError("its uncompressed contents exceed the archive")
            config = json.loads(file.read("config.json"))["config"]
            content = io.BytesIO(file.read("model.weights.h5"))
        with h5py.File(content) as weights:
            variables = {group["vars"].attrs["name"]: group["vars"] for group in weights["layers"].values()}
            first, *dense = config["layers"]
            inputs, layers = first["config"]["batch_shape"][1], []
            for layer in dense:
                valid = ACTIVATIONS if layer is not dense[-1] else ("softmax",)
                name, activation, units = (layer["config"][key] for key in ("name", "activation", "units"))
                kernel, bias = (variables[name][part] for part in ("0", "1"))
                if layer["class_name"] != "Dense" or activation not in valid or kernel.dtype != np.float32:
                    raise ValueError(f"{name} is not a dense layer as train saves it")
                if kernel.nbytes > size or (kernel.shape, bias.shape) != ((inputs, units), (units,)):
                    raise ValueError(f"the weights of {name} differ in shape from its description")
                layers.append(DenseLayer(kernel[()], bias[()], activation))
                inputs = units
            if not layers:
                raise ValueError("it has no layers")
            return config["name"], layers
    except FileNotFoundError:
        raise missing_file(path) from None
    except Exception as error:  # for a corrupt file zipfile and h5py raise almost any type
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{relative(path)} cannot be loaded as a model ({reason}); run `dvc repro`") from None
