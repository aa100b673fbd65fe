"""The learning rate of each training step."""

import math

import numpy as np


def learning_rates(peak: float, schedule: str, *, epochs: int, warmup_epochs: float, steps: int) -> np.ndarray:
    """The learning rate of each step of a training.

    Args:
        peak: the highest rate.
        schedule: `constant`, or `cosine`: from the peak down to 0 along half a cosine (Loshchilov and Hutter 2017,
            "SGDR: stochastic gradient descent with warm restarts").
        epochs: number of epochs.
        warmup_epochs: epochs of linear warm-up from 0 (Goyal et al. 2017, "Accurate, large minibatch SGD").
        steps: steps per epoch.

    Returns:
        float32 (epochs, steps), rounded from float64. Keras's CosineDecay would compute the cosine in the compiled
        step, where its last bits may depend on the CPU.
    """
    total, warmup = epochs * steps, round(warmup_epochs * steps)
    rates = np.full(total, peak, np.float32)
    for step in range(total):
        if step < warmup:
            rates[step] = peak * (step + 1) / (warmup + 1)
        elif schedule == "cosine":
            rates[step] = peak * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
    return rates.reshape(epochs, steps)
