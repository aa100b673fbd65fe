"""The train stage: the validation metrics are those of the network that it saves."""

import json

import numpy as np
import pytest
from conftest import Checkout

from mnist.core.data import DataSummary
from mnist.model.network import predict
from mnist.model.weights import read_weights

DIGITS = DataSummary("digits", "Digits", list("0123456789"), (8, 8), True, 8, False, "test images", {})


@pytest.mark.parametrize("scaled", [False, True])
def test_validation_metrics_are_those_of_the_saved_network(checkout: Checkout, scaled: bool) -> None:
    if scaled:
        checkout.set_param("temperature_scaling", "true")
        checkout.set_param("label_smoothing", "0.1")  # so that the temperature is far from 1
        assert checkout.stage("train").returncode == 0
    metrics = json.loads((checkout.folder / "reports/validation.json").read_text())
    images, labels = (
        np.load(checkout.folder / f"data/processed/validation_{name}.npy") for name in ("images", "labels")
    )
    _, log_probabilities = predict(read_weights(checkout.folder / "models/model.keras", DIGITS), images)
    loss = -log_probabilities[np.arange(len(labels)), labels].mean()
    assert metrics["val_loss"] == pytest.approx(loss, rel=1e-4)
    assert metrics["val_accuracy"] == pytest.approx((log_probabilities.argmax(axis=1) == labels).mean(), abs=1e-6)
    assert ("temperature" in metrics) == scaled
