"""Detectors in the convention of YOLO that find what a test wants, and pictures for them."""

import json

import numpy as np
import onnx
from PIL import Image

from zqc.model_io.model_file import METADATA_PREFIX
from zqc.recipe.toml import METADATA_KEY, to_toml

# A detector in the convention of YOLO for 64 x 64 pictures (64 + 16 + 4 cells of the strides 8, 16
# and 32) that finds one square, of one class: the score of its only candidate is the mean of the
# picture times `gain`, and the box is constant.
CELLS = 84
DETECTOR = """<ir_version: 8, opset_import: ["" : 17]>
g (float[{batch},3,{height},{width}] images) => (float[{batch},5,84] {output}) {{
    mean = ReduceMean<axes=[1, 2, 3], keepdims=1>(images)
    flat = Squeeze(mean, last)
    strong = Mul(flat, gain)
    logits = Add(strong, hidden)
    scores = Sigmoid(logits)
    none = Mul(flat, zero)
    boxes = Add(none, box)
    {output} = Concat<axis=1>(boxes, scores)
}}"""


def write_detector(
    path, *, gain=8.0, batch="N", height=64, width=64, output="output0", shift=0.0, step=None
):
    """Write the detector; ``step`` rounds its logits to a grid as quantization would."""
    text = DETECTOR.format(batch=batch, height=height, width=width, output=output)
    if step is not None:
        text = text.replace(
            "scores = Sigmoid(logits)",
            "q = QuantizeLinear(logits, step, middle)\n"
            "d = DequantizeLinear(q, step, middle)\nscores = Sigmoid(d)",
        )
    model = onnx.parser.parse_model(text)
    hidden = np.full((1, 1, CELLS), -17, np.float32)
    hidden[0, 0, 5] = -4
    box = np.zeros((1, 4, CELLS), np.float32)
    box[0, :, 5] = [32 + shift, 32, 16, 16]
    values = {
        "gain": np.float32(gain),
        "hidden": hidden,
        "zero": np.float32(0),
        "box": box,
        "last": np.array([3], np.int64),
        "step": np.float32(step or 1),
        "middle": np.uint8(128),
    }
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()
    )
    onnx.save(model, path)
    return path


# The same with three classes: candidate k of 16 is class k % 3, where patch k of 4 x 4 is bright.
# Every other box lies two pixels beside its patch, IoU 14 / 18.
PATCHES = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,3,64,64] images) => (float[N,7,84] output0) {
    pooled = AveragePool<kernel_shape = [16, 16], strides = [16, 16]>(images)
    grey = ReduceMean<axes = [1], keepdims = 1>(pooled)
    flat = Reshape(grey, row)
    cells = Pad(flat, behind)
    strong = Mul(cells, weights)
    logits = Add(strong, hidden)
    scores = Sigmoid(logits)
    none = Mul(cells, zero)
    boxes = Add(none, box)
    output0 = Concat<axis = 1>(boxes, scores)
}"""
NAMES = ("cat", "dog", "bird")
CATEGORIES = tuple(enumerate(NAMES))


def write_patches(path, *, order=(0, 1, 2), names=NAMES, gain=8.0, shift=2.0):
    """Write the detector of patches; class c comes out as ``order[c]``."""
    model = onnx.parser.parse_model(PATCHES)
    weights, hidden = np.zeros((1, 3, CELLS), np.float32), np.full((1, 3, CELLS), -17, np.float32)
    box = np.zeros((1, 4, CELLS), np.float32)
    for k in range(16):
        weights[0, order[k % 3], k] = gain
        hidden[0, order[k % 3], k] = -4
        box[0, :, k] = [16 * (k % 4) + 8 + shift * (k % 2), 16 * (k // 4) + 8, 16, 16]
    values = {
        "row": np.array([0, 1, 16], np.int64),
        "behind": np.array([0, 0, 0, 0, 0, CELLS - 16], np.int64),
        "weights": weights,
        "hidden": hidden,
        "zero": np.float32(0),
        "box": box,
    }
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()
    )
    if names:
        onnx.helper.set_model_props(model, {"names": str(dict(enumerate(names)))})
    onnx.save(model, path)
    return path


def write_segments(path, *, rows=4):
    """Write the detector of patches with masks: the upper ``rows`` of the 4 rows of cells of each.

    Of its prototypes one is positive everywhere, the other one in these rows.
    """
    model = onnx.load(write_patches(path, shift=0.0))
    node = onnx.helper.make_node
    *before, last = model.graph.node
    last.input.append("coefficients")
    quarter = {"kernel_shape": [4, 4], "strides": [4, 4]}
    nodes = [
        *before,
        node("Add", ["none", "chosen"], ["coefficients"]),
        last,
        node("AveragePool", ["images"], ["small"], **quarter),
        node("ReduceMean", ["small"], ["shade"], axes=[1], keepdims=1),
        node("Mul", ["shade", "zero"], ["nothing"]),
        node("Add", ["nothing", "grids"], ["output1"]),
    ]
    grids, chosen = np.ones((1, 2, 16, 16), np.float32), np.zeros((1, 2, CELLS), np.float32)
    grids[0, 1, np.arange(16) % 4 >= rows] = -1
    chosen[0, 0 if rows == 4 else 1] = 1
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(v, k) for k, v in (("grids", grids), ("chosen", chosen))
    )
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 9
    sizes = ["N", 2, 16, 16]
    model.graph.output.append(onnx.helper.make_tensor_value_info("output1", 1, sizes))
    model.metadata_props.add(key="task", value="segment")
    onnx.save(model, path)
    return path


# Three layers whose mean moves every logit by a thousandth: whatever is wrong with them, the
# detections agree.
SIDE = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,3,64,64] images, float[1,3,84] hidden) => (float[N,3,84] offset) {
    c1 = Conv<pads = [1, 1, 1, 1], strides = [4, 4]>(images, w1, b1)
    r1 = Relu(c1)
    c2 = Conv<pads = [1, 1, 1, 1], strides = [4, 4]>(r1, w2, b2)
    r2 = Relu(c2)
    c3 = Conv(r2, w3, b3)
    mean = ReduceMean<axes = [1, 2, 3], keepdims = 1>(c3)
    flat_mean = Squeeze(mean, last)
    little = Mul(flat_mean, thousandth)
    offset = Add(little, hidden)
}"""
LAYERS = ("stem", "body", "head")


def write_layered(path):
    """Write the detector of patches beside three layers that its detections hardly depend on."""
    model, side = onnx.load(write_patches(path)), onnx.parser.parse_model(SIDE)
    for node, name in zip((n for n in side.graph.node if n.op_type == "Conv"), LAYERS, strict=True):
        node.name = name
    nodes = [*side.graph.node, *model.graph.node]
    (logits,) = (node for node in nodes if "logits" in node.output)
    logits.input[1] = "offset"
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    rng = np.random.default_rng(0)
    values = {"last": np.array([3], np.int64), "thousandth": np.float32(1e-3)}
    for index, shape in enumerate([(8, 3, 3, 3), (16, 8, 3, 3), (4, 16, 1, 1)], 1):
        spread = 1.5 / np.sqrt(np.prod(shape[1:]))
        values[f"w{index}"] = rng.normal(0, spread, shape).astype(np.float32)
        values[f"b{index}"] = rng.normal(0, 0.2, shape[0]).astype(np.float32)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()
    )
    onnx.save(model, path)
    return path


def bright_patches(count=6, seed=0):
    """Which of the patches are bright in each picture, shape (count, 16)."""
    return np.random.default_rng(seed).random((count, 16)) < 0.5


def write_pictures(folder, patches):
    """Write pictures of 128 x 128 with patches of 32 x 32, white or black."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, bright in enumerate(patches):
        pixels = np.kron(bright.reshape(4, 4), np.ones((32, 32))) * 255
        Image.fromarray(pixels.astype(np.uint8)).convert("RGB").save(folder / f"{index}.png")
    return folder


def write_coco(path, patches, categories=CATEGORIES, *, only=NAMES):
    """Write labels of the bright patches of some classes, by categories (id, name)."""
    ids = {name: number for number, name in categories}
    annotations = [
        {"image_id": index, "category_id": ids[NAMES[k % 3]], "bbox": _patch(k)}
        for index, bright in enumerate(patches)
        for k in np.flatnonzero(bright).tolist()
        if NAMES[k % 3] in only
    ]
    content = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(len(patches))],
        "categories": [{"id": number, "name": name} for number, name in categories],
        "annotations": [{"id": i + 1, **one} for i, one in enumerate(annotations)],
    }
    path.write_text(json.dumps(content))
    return path


def write_yolo(folder, patches):
    """Write a dataset: a YAML file, pictures, and a text file of labels for each."""
    write_pictures(folder / "images" / "val", patches)
    labels = folder / "labels" / "val"
    labels.mkdir(parents=True)
    for index, bright in enumerate(patches):
        lines = (
            f"{k % 3} {(k % 4) / 4 + 0.125} {(k // 4) / 4 + 0.125} 0.25 0.25"
            for k in np.flatnonzero(bright).tolist()
        )
        (labels / f"{index}.txt").write_text("\n".join(lines))
    names = "\n".join(f"  {number}: {name}" for number, name in enumerate(NAMES))
    (folder / "data.yaml").write_text(f"path: .\nval: images/val\nnames:\n{names}\n")
    return folder / "data.yaml"


def with_recipe(path, recipe):
    """Write a recipe into a model, as if zqc had compiled it."""
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_PREFIX + METADATA_KEY, to_toml(recipe)
    onnx.save(model, path)
    return path


def _patch(k):
    """Corner and size of a patch in a picture."""
    return [32 * (k % 4), 32 * (k // 4), 32, 32]
