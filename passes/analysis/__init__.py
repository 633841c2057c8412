"""Questions about a graph: what is a layer, which tensors are quantized; nothing is changed."""
