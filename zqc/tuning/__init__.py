"""Learning: biases, or weights and biases, of a quantized model trained against the float model."""
