"""QDQ → QDQ, exact: what ONNX Runtime needs to use its integer kernels."""
