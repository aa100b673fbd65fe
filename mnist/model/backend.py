"""TensorFlow and Keras, set so that the same program gives the same bits; the project imports them only here.

The settings must precede the import. They are part of the result; `mnist.core` removes the user's own.
"""

import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mnist.core.params import Params

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no start-up messages; changes no result
os.environ["TF_USE_LEGACY_KERAS"] = "1"  # otherwise TensorFlow imports Keras, which takes two seconds
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # a GPU sums in another order
# Otherwise oneDNN computes single operations outside of XLA, rounded by the CPU's widest instructions.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
# Otherwise XLA's library of matrix products may choose the order of sums that is fastest on each CPU.
os.environ["XLA_FLAGS"] = "--xla_cpu_enable_platform_dependent_math=false"
if platform.machine() == "x86_64":
    # Otherwise a CPU with AVX-512 gets code that sums 16 numbers side by side, one with AVX2 code that sums 8.
    os.environ["XLA_FLAGS"] += " --xla_cpu_max_isa=AVX2"


OPTIONAL = "matplotlib", "pandas", "sklearn"  # packages that Keras imports if they are installed; nothing here needs it


@contextmanager
def _quick_import() -> Iterator[None]:
    """Import without optional packages, which take a third of the time, and without the garbage collector's passes."""
    absent = [name for name in OPTIONAL if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # as None, whose import fails
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # it passes over what is imported for good
        gc.enable()
        for name in absent:
            del sys.modules[name]


with _quick_import():
    import tensorflow as tf
    from tensorflow.compiler.tf2xla.python.xla import optimization_barrier

if TYPE_CHECKING:
    import keras

__all__ = ["ComputeParams", "keras", "optimization_barrier", "tf", "use_threads"]


def __getattr__(name: str) -> Any:
    """Import Keras at its first use: prediction does not need it."""
    if name != "keras":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    with _quick_import():
        import keras

    # ~/.keras/keras.json may have other values.
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    return keras


class ComputeParams(Params):
    """The number of CPU threads, with which no bit changes."""

    section = "compute"
    threads: Annotated[int, Field(ge=2, le=256)]


def use_threads(threads: int) -> None:
    """Set the number of threads, 2 or more, before the first computation."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)


use_threads(2)  # on a machine with one core there would be one, with which XLA's library sums in another order
