"""zqc beside other quantizers, in other engines, and in other versions of ONNX Runtime."""
