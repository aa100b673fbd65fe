"""What computes a prediction: TensorFlow's settings, the network, and its stored weights."""
