"""Products and sums with the same bits on every CPU, by the specification in docs/reproducibility.md.

Compilers and libraries choose the order of a sum by the CPU, and whether a product is rounded before it is added. The
functions here leave them no choice.
"""

import platform
from collections.abc import Callable
from functools import cache

from mnist.model.backend import optimization_barrier, tf

BLOCK = 512  # inputs that are summed in one run
UNROLLED = 16  # inputs per iteration in float64
SMALLEST = 8  # rows and columns; XLA does not hand smaller products to its library

# XLA's library for float32 on x86-64 sums as many inputs in one run as make COLUMNS * BLOCK numbers on the right. It
# takes COLUMNS columns at a time, or more where it leaves the operand in its place: below ROWS rows on the left.
COLUMNS, ROWS = 64, 128


@cache
def _ones() -> tf.Tensor:
    """Ones outside of the compiled function, more than the 128 that TensorFlow would copy into it as a constant."""
    with tf.init_scope():
        return tf.ones(256)


def materialize(values: tf.Tensor) -> tf.Tensor:
    """The same values, rounded and computed only once.

    They are divided by 1, which XLA does not know. So it cannot fuse the operation that computes them with a later one,
    and does not repeat it for each use of the values, because a division is expensive.
    """
    return values / tf.cast(_ones()[0], values.dtype)


@tf.custom_gradient
def matmul(left: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple]]:
    """The product of two matrices, (n, inputs) and (inputs, units); its gradients are such products, too.

    Each number is a sum over the inputs in ascending order by fused multiply-add, in blocks of BLOCK inputs. The sums
    of the blocks are added in order.
    """
    left = materialize(left)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        upstream = materialize(upstream)
        # XLA adds in another order if the left operand is transposed within the product. The barrier keeps it outside.
        [transposed] = optimization_barrier(tf.transpose(left))
        return _multiply(upstream, right, transpose_right=True), _multiply(transposed, upstream)

    return _multiply(left, right), gradient


@tf.custom_gradient
def add_bias(values: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple]]:
    """The sum of a matrix, (n, units), and a bias of each column, (units,); the gradient sums pairwise."""
    return values + bias, lambda upstream: (upstream, pairwise_sum(upstream))


def _multiply(left: tf.Tensor, right: tf.Tensor, *, transpose_right: bool = False) -> tf.Tensor:
    (rows, inputs), units = left.shape, right.shape[0 if transpose_right else 1]
    more_units = [0, max(0, SMALLEST - units)]
    left = tf.pad(left, [[0, max(0, SMALLEST - rows)], [0, 0]])
    right = tf.pad(right, [more_units, [0, 0]] if transpose_right else [[0, 0], more_units])
    multiply = _multiply_float32 if left.dtype == tf.float32 else _multiply_float64
    length = inputs if left.dtype == tf.float32 and _library_cuts(rows, inputs, units, transpose_right) else BLOCK
    parts: list[tf.Tensor] = []
    for block in (slice(start, start + length) for start in range(0, inputs, length)):
        part = multiply(left[:, block], right[:, block] if transpose_right else right[block], transpose_right)
        parts += optimization_barrier(part)  # or XLA may join the products again
    return sum(parts[1:], parts[0])[:rows, :units]


def _library_cuts(rows: int, inputs: int, units: int, transpose_right: bool) -> bool:
    """Whether XLA's library cuts sums at BLOCK inputs by itself, which is faster."""
    copied = units >= COLUMNS and (transpose_right or rows >= ROWS)
    large = units % COLUMNS == 0 and (rows + COLUMNS) * min(inputs, 1024) >= 1 << 16
    return platform.machine() == "x86_64" and (copied or large)


def _multiply_float32(left: tf.Tensor, right: tf.Tensor, transpose_right: bool) -> tf.Tensor:
    (rows, inputs), numbers = left.shape, right.shape.num_elements()
    if inputs == 1:
        return materialize(left * tf.reshape(right, [1, -1]))  # or XLA may fuse it with the addition of the block
    if not transpose_right and inputs <= BLOCK and rows < ROWS and numbers > COLUMNS * BLOCK:
        [right] = optimization_barrier(tf.transpose(right))  # so that the library copies it, and does not cut the sums
        transpose_right = True
    return tf.matmul(left, right, transpose_b=transpose_right)


def _multiply_float64(left: tf.Tensor, right: tf.Tensor, transpose_right: bool) -> tf.Tensor:
    """The same in float64, for which XLA's library has no fused multiply-add on x86-64."""
    left, right = tf.transpose(left), tf.transpose(right) if transpose_right else right
    last = right.shape[0] - right.shape[0] % UNROLLED

    def add_inputs(total: tf.Tensor, start: tf.Tensor | int, count: int) -> tf.Tensor:
        parts = (tf.slice(matrix, [start, 0], [count, matrix.shape[1]]) for matrix in (left, right))
        for column, row in zip(*map(tf.unstack, parts), strict=True):
            total += column[:, None] * row  # compiled to a fused multiply-add
        return total

    def step(start: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return start + UNROLLED, add_inputs(total, start, UNROLLED)

    # XLA would leave out a constant 0, and fuse the first product instead of the second one.
    total = materialize(tf.zeros([left.shape[1], right.shape[1]], left.dtype))
    if last:
        total = tf.while_loop(lambda start, _: start < last, step, (0, total))[1]
    return add_inputs(total, last, right.shape[0] - last)


def pairwise_sum(values: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """The sum along the first or second axis of a matrix: the latter half is added to the former until one is left.

    An odd number is made even by a 0 at the end.
    """
    values = materialize(values)
    while values.shape[axis] > 1:
        if values.shape[axis] % 2:
            values = tf.pad(values, [[0, int(n == axis)] for n in range(len(values.shape))])
        former, latter = tf.split(values, 2, axis)
        values = former + latter
    return tf.squeeze(values, axis)
