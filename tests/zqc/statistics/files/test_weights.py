"""Numbers of 16 bits become float32."""

import ml_dtypes
import numpy as np

from zqc.statistics.files.weights import widened


def test_widened():
    """The values are those of the reference types, whatever the byte order."""
    values = np.array([[1.5, -3.140625e-3], [65280.0, 0.0]])
    bits = values.astype(ml_dtypes.bfloat16).view(np.uint16)
    expected = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    for raw in (bits, bits.astype(">u2")):
        found = widened(raw, bfloat16=True)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    half = widened(values.astype(">f2"))
    np.testing.assert_array_equal(half, values.astype(np.float16).astype(np.float32))
    assert widened(values).dtype == np.float64
