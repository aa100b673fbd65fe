"""The trained network: shaped by the parameters, and converted to the dense layers that infer the same."""

import numpy as np
from small import DATA, IMAGES, small_params

from mnist.model.backend import keras
from mnist.model.network import predict
from mnist.training.build import build_network, fold_batch_norm


def test_the_parameters_shape_the_network() -> None:
    network = build_network(small_params(hidden_units=[5, 4], activation="tanh"), DATA)
    assert [weights.shape for weights in network.get_weights()] == [(20, 5), (5,), (5, 4), (4,), (4, 3), (3,)]
    assert network.layers[0].activation is keras.activations.tanh
    assert build_network(small_params(hidden_units=[]), DATA).count_params() == 20 * 3 + 3


def test_the_dense_layers_infer_what_the_trained_network_does() -> None:
    rng = np.random.default_rng(0)
    for precision in ("float32", "float64"):
        params = small_params(hidden_units=[9, 7], batch_normalization=True, dropout=0.5, precision=precision)
        network = build_network(params, DATA)
        network.set_weights([rng.random(weights.shape, np.float32) + 0.1 for weights in network.get_weights()])
        layers = fold_batch_norm(network, "relu")
        assert [layer.activation for layer in layers] == ["relu", "relu", "softmax"]
        assert {array.dtype for layer in layers for array in (layer.kernel, layer.bias)} == {np.dtype(np.float32)}
        expected = keras.ops.softmax(network(IMAGES, training=False))
        np.testing.assert_allclose(predict(layers, IMAGES)[0], expected, rtol=1e-4, atol=1e-5)
