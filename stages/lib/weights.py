"""The weights of a saved network, read without TensorFlow, which takes longer to import than to need them."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from stages.lib.errors import UserError
from stages.lib.files import missing
from stages.lib.paths import relative


@dataclass(frozen=True)
class DenseLayer:
    """What a dense layer computes: activation(inputs @ kernel + bias)."""

    kernel: np.ndarray
    """Float32 (inputs, units)."""
    bias: np.ndarray
    """Float32 (units,)."""
    activation: str
    """Its name in Keras."""


def read_weights(path: Path) -> list[DenseLayer]:
    """The layers of a network as train saves it, input side first.

    A .keras file is a zip of config.json, which describes the layers, and model.weights.h5, which holds for each layer
    a group that bears its name. Nothing in it is compressed, so its size bounds what it makes a reader hold.

    Raises:
        UserError: the file is missing, or is not a stack of dense layers with the weights that it describes.
    """
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as file:
            if sum(entry.file_size for entry in file.infolist()) > size:
                raise ValueError("it unpacks to more than it holds")
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
                    raise ValueError(f"the weights of {layer['name']} are not those that it describes")
                layers.append(DenseLayer(kernel[()], bias[()], layer["activation"]))
                inputs = units
            return layers
    except FileNotFoundError:
        raise missing(path) from None
    except Exception as error:  # for a damaged file zipfile and h5py end in almost any of them
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{relative(path)} is no model that can be loaded ({reason}); run `dvc repro`") from None
