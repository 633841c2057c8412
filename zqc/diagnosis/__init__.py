"""Which layers harm the outputs of a quantized detector, and what it costs to spare them."""
