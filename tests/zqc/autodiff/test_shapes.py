"""Shapes behind operators that onnx infers nothing for."""

import numpy as np

from tests.passes.helpers import build_model
from zqc.autodiff.shapes import infer_shapes


def test_what_keeps_its_shape_hides_no_shape():
    """Behind two normalizations that onnx's inference leaves open, all shapes are known."""
    model = build_model(
        """(float[1,4,8,8] x) => (float[a,b,c,d] y) {
            group = GroupNormalization<num_groups=2>(x, ones, ones)
            small = MaxPool<kernel_shape=[2,2], strides=[2,2]>(group)
            mean = MeanVarianceNormalization<axes=[2,3]>(small)
            y = Transpose<perm=[0,2,3,1]>(mean)
        }""",
        opset=21,
        ones=np.ones(4, np.float32),
    )
    for node in model.graph:
        node.outputs[0].shape = None
    infer_shapes(model)
    shapes = [tuple(node.outputs[0].shape) for node in model.graph]
    assert shapes == [(1, 4, 8, 8), (1, 4, 4, 4), (1, 4, 4, 4), (1, 4, 4, 4)]
