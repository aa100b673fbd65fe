"""The learning rate of each training step."""

import math

import numpy as np

from mnist.training.params import TrainParams


def learning_rates(params: TrainParams, steps: int) -> np.ndarray:
    """The learning rate of each step, float32 (epochs, steps per epoch).

    The schedule is constant, or a half cosine down to 0 (Loshchilov and Hutter 2017), after a linear warm-up (Goyal et
    al. 2017). It is computed by Python: the last bits of a cosine in the compiled step may depend on the CPU.
    """
    total, warmup = params.epochs * steps, round(params.warmup_epochs * steps)
    rates = np.full(total, params.learning_rate, np.float32)
    for step in range(total):
        if step < warmup:
            rates[step] = params.learning_rate * (step + 1) / (warmup + 1)
        elif params.schedule == "cosine":
            rates[step] = params.learning_rate * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
    return rates.reshape(params.epochs, steps)
