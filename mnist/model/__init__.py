"""What computes a prediction: TensorFlow's settings, the layers, the network, and its stored weights."""
