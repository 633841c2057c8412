"""ONNX Runtime: sessions, versions, what was executed, and how long it took."""
