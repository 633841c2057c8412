"""Zero points of Gemm's weights."""

import numpy as np
import pytest

from passes import GemmZeroPoints
from tests.passes.helpers import build_model, run_model
from zqc.runtime import session


def quantized(*, zero="", axis="axis=0", scales=5):
    """Return a Gemm between pairs, its weight with a scale per row."""
    step = np.full(scales, 2**-6, np.float32) if axis else np.float32(2**-6)
    return build_model(
        f"""(float[N,4] x) => (float[N,5] y) {{
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            w_d = DequantizeLinear<{axis or "axis=1"}>(w, step{zero})
            b_d = DequantizeLinear<axis=0>(b, steps)
            g = Gemm<transB=1>(d, w_d, b_d)
            p = QuantizeLinear(g, s, z)
            y = DequantizeLinear(p, s, z)
        }}""",
        s=0.25,
        z=np.uint8(128),
        step=step,
        steps=np.full(5, 2**-8, np.float32),
        w=np.arange(20, dtype=np.int8).reshape(5, 4),
        b=np.arange(5, dtype=np.int32),
        **({"zeros": np.zeros_like(step, np.int8)} if zero else {}),
    )


@pytest.mark.parametrize("axis", ["axis=0", ""])
def test_it_fuses(axis, rng):
    """ONNX Runtime makes a QGemm of it, which 1.28 and later need zero points for; same values."""
    model = quantized(axis=axis)
    x = rng.normal(0, 4, (3, 4)).astype(np.float32)
    before = run_model(model, x=x)["y"]
    assert GemmZeroPoints()(model).modified
    assert "QGemm" in [node.op_type for node in session.executed_graph(model).graph]
    np.testing.assert_array_equal(run_model(model, x=x)["y"], before)
    np.testing.assert_array_equal(session.load(model, threads=1)({"x": x})["y"], before)


def test_zeros_that_are_there_stay():
    """A weight that has zero points is left alone."""
    assert not GemmZeroPoints()(quantized(zero=", zeros")).modified
