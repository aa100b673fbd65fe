"""The parameters of training: the sections `train` and `augmentation` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from mnist.core.errors import UserError
from mnist.core.params import Params, read_params


class TrainParams(Params):
    """The network, and how it is trained."""

    section = "train"
    hidden_units: list[Annotated[int, Field(ge=1, le=16384)]]
    activation: Literal["elu", "gelu", "leaky_relu", "relu", "selu", "sigmoid", "silu", "tanh"]
    batch_normalization: bool
    dropout: Annotated[float, Field(ge=0, le=0.9)]
    optimizer: Literal["adam", "nadam", "sgd"]
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    schedule: Literal["constant", "cosine"]
    warmup_epochs: Annotated[float, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    label_smoothing: Annotated[float, Field(ge=0, le=0.9)]
    temperature_scaling: bool
    batch_size: Annotated[int, Field(ge=1, le=65536)]
    epochs: Annotated[int, Field(ge=1, le=10000)]
    precision: Literal["float32", "float64"]
    workers: Annotated[int, Field(ge=1, le=1024)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


class AugmentationParams(Params):
    """The strength of augmentation; each image draws its own transformation, uniformly up to these bounds.

    As in Ciresan et al. 2010, "Deep, big, simple neural nets for handwritten digit recognition"; elastic distortion is
    that of Simard et al. 2003, "Best practices for convolutional neural networks applied to visual document analysis".
    """

    section = "augmentation"
    rotation: Annotated[float, Field(ge=0, le=45)]
    scaling: Annotated[float, Field(ge=0, le=0.5)]
    shear: Annotated[float, Field(ge=0, le=45)]
    shift: Annotated[float, Field(ge=0, le=100)]
    elastic_alpha: Annotated[float, Field(ge=0, le=1000)]
    elastic_sigma: Annotated[float, Field(ge=1, le=100)]
    half_strength_epochs: Annotated[int, Field(ge=0, le=10000)]

    @property
    def enabled(self) -> bool:
        """Whether images are augmented at all."""
        return any((self.rotation, self.scaling, self.shear, self.shift, self.elastic_alpha))


def read_training_params() -> tuple[TrainParams, AugmentationParams]:
    """Read both sections; UserError for a value that is not valid, or too large for the number of epochs."""
    params, augmentation = read_params(TrainParams), read_params(AugmentationParams)
    warmup, half, epochs = params.warmup_epochs, augmentation.half_strength_epochs, params.epochs
    if warmup >= epochs:
        raise UserError(f"params.yaml: train.warmup_epochs is {warmup}, but should be less than train.epochs, {epochs}")
    if half > epochs:
        key = "augmentation.half_strength_epochs"
        raise UserError(f"params.yaml: {key} is {half}, but should be at most train.epochs, {epochs}")
    return params, augmentation
