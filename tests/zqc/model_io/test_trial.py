"""The first run of a model shows what has no end, what is declared wrongly and what is misread."""

import time

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests import nets
from tests.zqc.model_io.helpers import CONV_NORM, IMAGE
from zqc.errors import ModelError, RuntimeFailure
from zqc.model_io import preparation, trial, upgrade
from zqc.runtime.session import Runner


def prepared(proto):
    """Make a model ready with the runs."""
    return preparation.prepared(proto, input_shape=None, simplify=False)


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_same(opset):
    """A model that is read as it is passes."""
    prepared(nets.detector(opset=opset))


def test_pixels():
    """Whole pixels, channels last, and half precision are fed as the file takes them."""
    text = f"""net (uint8[N, 8, 8, 3] pixels) => (float16[N, 8, 8, 8] y) {{
        turned = Transpose <perm = [0, 3, 1, 2]> (pixels)
        x = Cast <to = 1> (turned)
        {CONV_NORM}
        y = Cast <to = 10> (normed)
    }}"""
    prepared(nets.model(text, **nets.weights()))


def test_misread(monkeypatch):
    """Where a step of loading changes what the model computes, that is told."""

    def wrong(model, version):
        changed = raised(model, version)
        changed.graph.initializer[0].raw_data = bytes(len(changed.graph.initializer[0].raw_data))
        return changed

    raised = upgrade.raise_opset
    monkeypatch.setattr(upgrade, "raise_opset", wrong)
    with pytest.raises(ModelError, match="reads the model otherwise than ONNX Runtime"):
        prepared(nets.detector())


def test_declared_dimensions():
    """An output with another number of dimensions than declared is refused, also one inside."""
    text = f"{IMAGE} (float[1, 2, 3, 4, 5] normed) {{ {CONV_NORM} }}"
    with pytest.raises(ModelError, match="'normed' is declared as 1×2×3×4×5, but is 1×8×8×8"):
        prepared(nets.model(text, **nets.weights()))
    proto = nets.model(f"{IMAGE} (float[N, 8, 8, 8] normed) {{ {CONV_NORM} }}", **nets.weights())
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("conv", 1, [1, 8, 64]))
    with pytest.raises(ModelError, match="declares 'conv' with 3 dimensions, but Conv gives it 4"):
        prepared(proto)


def test_refused_by_onnx_runtime():
    """What ONNX Runtime refuses is refused when it is read."""
    text = f"{IMAGE} (float[N, 8, 8, 8] y) {{ {CONV_NORM} y = Add (normed, short) }}"
    proto = nets.model(text, short=np.ones(5, np.float32), **nets.weights())
    with pytest.raises(ModelError, match="ONNX Runtime"):
        prepared(proto)


def test_a_loop_without_end(monkeypatch):
    """A Loop whose rounds are computed is broken off in time."""
    monkeypatch.setattr(trial, "_SECONDS", 0.2)
    text = f"""{IMAGE} (float[N, 8, 8, 8] y) {{
        {CONV_NORM}
        many = Mul (rounds, rounds)
        y = Loop (many, , normed) <body = round
            (int64 i, bool go, float[a, b, c, d] was) => (bool on, float[e, f, g, h] now) {{
                on = Identity (go) now = Relu (was)
            }}>
    }}"""
    proto = nets.model(text, rounds=np.array(2**20), **nets.weights())
    with pytest.raises(ModelError, match=r"takes longer than 0 s; a Loop in it may have no end"):
        prepared(proto)


def test_a_slow_machine_is_no_reason_to_refuse(monkeypatch):
    """A model without a Loop ends some time: where that takes too long it is taken as it is."""

    def slow(self, feeds, *, seconds=None):
        time.sleep(2 * seconds)
        raise RuntimeFailure("ONNX Runtime was stopped")

    monkeypatch.setattr(trial, "_SECONDS", 0.01)
    monkeypatch.setattr(Runner, "__call__", slow)
    text = f"{IMAGE} (float[N, 8, 8, 8] y) {{ {CONV_NORM} y = Relu (normed) }}"
    proto = nets.model(text, **nets.weights())
    known = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    assert trial.first_run(proto, known, {}) is None
    trial.run_alone(proto.SerializeToString())


def test_sizes_that_no_machine_holds():
    """A tensor of 2⁴⁰ values is refused by the node that would make it, before it runs."""
    text = f"""{IMAGE} (float[a, b, c, d] y) {{
        {CONV_NORM}
        y = Expand (normed, sizes)
    }}"""
    proto = nets.model(text, sizes=np.array([2**31, 8, 8, 8]), **nets.weights())
    with pytest.raises(ModelError, match="which no machine holds"):
        prepared(proto)


def test_alone(monkeypatch):
    """Any model runs once on ones: what does not end, or gives something else, is refused."""
    trial.run_alone(nets.detector().SerializeToString())
    short = nets.model("net (float[2, 3] x) => (float[1] y) { y = Relu (x) }")
    with pytest.raises(ModelError, match="'y' is declared as 1, but is 2×3"):
        trial.run_alone(short.SerializeToString())
    trial.run_alone(nets.model("net (string[2] x) => (string[2] x) {}").SerializeToString())
