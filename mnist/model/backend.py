"""TensorFlow and Keras, set so that the same program gives the same bits; the project imports them only here.

The settings must precede the import. They are part of the result, and override the user's environment.
"""

import os
import platform
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mnist.core.params import Params

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no start-up messages; changes no result
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # a GPU sums in another order

if platform.machine() == "x86_64":
    # Otherwise XLA's library of matrix products may choose the order of sums that is fastest on each CPU.
    os.environ["XLA_FLAGS"] = "--xla_cpu_enable_platform_dependent_math=false"
    # Otherwise a CPU with AVX-512 gets code that sums 16 numbers side by side, one with AVX2 code that sums 8.
    os.environ["XLA_FLAGS"] += " --xla_cpu_max_isa=AVX2"
    # Otherwise oneDNN computes single operations outside of XLA, rounded by the CPU's widest instructions.
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
else:
    os.environ.pop("XLA_FLAGS", None)  # a user's own; the flags above are for x86-64

import tensorflow as tf
from tensorflow.compiler.tf2xla.python.xla import optimization_barrier

if TYPE_CHECKING:
    import keras

__all__ = ["ComputeParams", "keras", "optimization_barrier", "tf", "use_threads"]


def __getattr__(name: str) -> Any:
    """Import Keras at its first use, because it takes two seconds, and prediction does not need it."""
    if name != "keras":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    import keras

    # ~/.keras/keras.json may have other values.
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    return keras


class ComputeParams(Params):
    """The number of CPU threads, which is part of the result."""

    section = "compute"
    threads: Annotated[int, Field(ge=1, le=256)]


def use_threads(threads: int) -> None:
    """Set the number of threads, before the first computation; with a single one XLA's library would sum otherwise."""
    tf.config.threading.set_intra_op_parallelism_threads(max(2, threads))
