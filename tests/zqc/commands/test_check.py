"""Two models are compared on pictures."""

import json
import math
import sys
from contextlib import contextmanager

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.zqc.commands.small_detectors import CELLS, write_detector
from zqc.commands.check import check
from zqc.errors import (
    ImageError,
    InputShapeError,
    LabelError,
    MissingPackageError,
    ModelError,
    OptionError,
)
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent


@pytest.fixture
def pictures(tmp_path):
    """Three pictures, 128 x 128: bright, medium and dark."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, grey in (("a.png", 250), ("b.png", 200), ("c.png", 20)):
        Image.new("RGB", (128, 128), (grey,) * 3).save(folder / name)
    return folder


@pytest.fixture
def labels(tmp_path):
    """The square is in a.png and b.png, in pixels of the pictures: twice those of the input."""
    content = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(("a.png", "b.png"))],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [
            {"id": i + 1, "image_id": i, "category_id": 1, "bbox": [48, 48, 32, 32]}
            for i in range(2)
        ],
    }
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    return path


def test_a_model_agrees_with_itself(tmp_path, pictures, labels):
    """Infinite SQNR, agreement 1 and the same accuracy: all squares are found where they are."""
    model = write_detector(tmp_path / "m.onnx")
    result = check(model, model, images=pictures, labels=labels, threads=1)
    assert (result.images, result.convention) == (3, "yolo")
    assert [(p.part, p.sqnr_db, p.correlation) for p in result.parts] == [
        ("boxes", math.inf, 1.0),
        ("scores", math.inf, 1.0),
    ]
    assert result.agreement.ap == pytest.approx(1)
    assert result.accuracy_float.ap == result.accuracy_quantized.ap == pytest.approx(1)


def test_dead_scores_are_seen(tmp_path, pictures, labels):
    """A coarse grid kills the scores: the boxes are perfect, the accuracy is gone."""
    model = write_detector(tmp_path / "m.onnx")
    dead = write_detector(tmp_path / "q.onnx", gain=-8.0)
    result = check(model, dead, images=pictures, labels=labels, threads=1)
    boxes, scores = result.parts
    assert boxes.sqnr_db == math.inf
    assert scores.sqnr_db < 1
    assert result.accuracy_float.ap == pytest.approx(1)
    assert (result.accuracy_quantized.ap, result.agreement.ap) == (0, 0)


def test_rounded_logits_leave_few_distinct_scores(tmp_path, pictures):
    """The numbers of the parts equal those computed from the outputs of the three pictures."""
    model = write_detector(tmp_path / "m.onnx")
    rough = write_detector(tmp_path / "q.onnx", step=0.5)
    scores = check(model, rough, images=pictures, threads=1).parts[1]
    logits = np.full((3, CELLS), -17.0)
    logits[:, 5] = -4
    logits += 8 * np.array([250, 200, 20])[:, None] / 255
    exact, rounded = (1 / (1 + np.exp(-x)) for x in (logits, np.round(logits * 2) / 2))
    expected = 10 * np.log10(np.square(exact).sum() / np.square(exact - rounded).sum())
    # ONNX Runtime's float32 sigmoid is good to about 1e-6, a thousandth of the noise.
    assert scores.sqnr_db == pytest.approx(expected, abs=0.01)
    assert scores.correlation == pytest.approx(np.corrcoef(exact.ravel(), rounded.ravel())[0, 1])
    assert scores.distinct == len(np.unique(rounded))


def test_a_moved_box_lowers_the_accuracy(tmp_path, pictures, labels):
    """Two pixels of sixteen: IoU 14/18 counts at 0.50…0.75, six of ten thresholds."""
    model = write_detector(tmp_path / "m.onnx")
    moved = write_detector(tmp_path / "q.onnx", shift=2.0)
    result = check(model, moved, images=pictures, labels=labels, threads=1)
    assert result.accuracy_quantized.ap == pytest.approx(0.6)
    assert result.accuracy_quantized.ap50 == pytest.approx(1)


def test_a_fixed_batch_is_filled_up(tmp_path, pictures, labels):
    """Three pictures through a batch of two: the repeated picture counts nowhere."""
    model = write_detector(tmp_path / "m.onnx")
    fixed = write_detector(tmp_path / "q.onnx", batch=2, step=0.5)
    free = write_detector(tmp_path / "f.onnx", step=0.5)
    one, other = (check(model, q, images=pictures, labels=labels) for q in (fixed, free))
    assert (one.accuracy_quantized, one.agreement) == (other.accuracy_quantized, other.agreement)
    for part, same in zip(one.parts, other.parts, strict=True):
        assert (part.distinct, part.distinct_float) == (same.distinct, same.distinct_float)
        assert part.sqnr_db == pytest.approx(same.sqnr_db, abs=1e-6)
        assert part.correlation == pytest.approx(same.correlation, abs=1e-9)


def test_an_open_size_comes_from_the_other_model_or_the_caller(tmp_path, pictures):
    """Height and width are taken from the fixed model, else they must be given."""
    free = write_detector(tmp_path / "m.onnx", height="H", width="W")
    fixed = write_detector(tmp_path / "q.onnx")
    assert check(free, fixed, images=pictures).convention == "yolo"
    assert check(free, free, images=pictures, input_shape=(64, 64)).convention == "yolo"
    with pytest.raises(InputShapeError, match="640x640"):
        check(free, free, images=pictures)
    with pytest.raises(OptionError, match="says 32x64, but the models take"):
        check(free, fixed, images=pictures, input_shape=(32, 64))


def test_without_a_convention_the_parts_are_still_compared(tmp_path, pictures, labels):
    """At another size the cells do not fit YOLO: no AP, and labels are refused."""
    model = write_detector(tmp_path / "m.onnx", height=96, width=96)
    result = check(model, model, images=pictures, limit=2)
    assert (result.images, result.convention, result.agreement) == (2, "", None)
    assert len(result.parts) == 2
    with pytest.raises(OptionError, match="leave the labels out"):
        check(model, model, images=pictures, labels=labels)


def test_computed_shapes_do_not_hide_the_scores(tmp_path, pictures):
    """Boxes and scores are told apart, too, where the exporter left the shapes to be computed."""
    path = write_detector(tmp_path / "m.onnx", batch=1)
    model = onnx.load(path)
    nodes = model.graph.node
    [position] = [i for i, node in enumerate(nodes) if node.output[0] == "scores"]
    nodes[position].output[0] = "unshaped"
    nodes.insert(position + 1, onnx.helper.make_node("Reshape", ["unshaped", "sizes"], ["scores"]))
    nodes.insert(position + 1, onnx.helper.make_node("Div", ["twice", "two"], ["sizes"]))
    for name, sizes in (("twice", [2, 2, 168]), ("two", [2, 2, 2])):
        values = onnx.numpy_helper.from_array(np.array(sizes, np.int64), name)
        model.graph.initializer.append(values)
    onnx.save(model, path)
    parts = check(path, path, images=pictures).parts
    assert [part.part for part in parts] == ["boxes", "scores"]


def test_the_input_format_reaches_the_models(tmp_path, pictures):
    """With 0:1 turned into -1:0 the mean is too low to find anything at all."""
    model = write_detector(tmp_path / "m.onnx")
    assert check(model, model, images=pictures).agreement is not None
    low = InputFormat.from_range(-1, 0)
    result = check(model, model, images=pictures, input_format=low)
    assert (result.agreement, result.pairing.lowered) == (None, False)
    assert "not compared: the float model finds nothing in these pictures" in str(result)


@pytest.mark.parametrize(("gain", "lowered"), [(3.3, False), (3.0, True), (1.9, True), (1.8, None)])
def test_a_model_that_is_never_sure_is_compared_at_a_lower_threshold(
    tmp_path, pictures, gain, lowered
):
    """From a best score of 0.3 down to 0.1, half of it is the threshold, and a note says so."""
    model = write_detector(tmp_path / "m.onnx", gain=gain)
    result = check(model, model, images=pictures)
    best = 1 / (1 + np.exp(4 - gain * 250 / 255))
    assert lowered == (None if best < 0.1 else best < 0.3)
    if lowered is None:
        assert result.agreement is None
        return
    assert result.agreement.ap == pytest.approx(1)
    assert result.pairing.lowered is lowered
    assert result.pairing.score_threshold == pytest.approx(best / 2 if lowered else 0.3, abs=1e-5)
    assert ("no score above 0.3" in " ".join(result.notes)) is lowered


@pytest.mark.parametrize(
    "other",
    [{"output": "other"}, {"height": 32}, {"batch": 2}],
)
def test_models_that_do_not_belong_together_are_refused(tmp_path, pictures, other):
    """Other outputs or inputs raise ModelError with both files."""
    model = write_detector(tmp_path / "m.onnx", batch=1)
    wrong = write_detector(tmp_path / "q.onnx", **{"batch": 1, **other})
    with pytest.raises(ModelError, match=r"m\.onnx.*q\.onnx"):
        check(model, wrong, images=pictures)


def test_outputs_of_other_shapes_are_refused(tmp_path, pictures):
    """The same names with other shapes are found before the first picture."""
    texts = {
        name: f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,3,8,8] x) => (float[1,A,8,8] y) {{ y = Concat<axis=1>({inputs}) }}"""
        for name, inputs in (("m.onnx", "x, x"), ("q.onnx", "x, x, x"))
    }
    for name, text in texts.items():
        onnx.save(onnx.parser.parse_model(text), tmp_path / name)
    with pytest.raises(ModelError, match=r"y 1 x 6 x 8 x 8 .* y 1 x 9 x 8 x 8"):
        check(tmp_path / "m.onnx", tmp_path / "q.onnx", images=pictures)


def test_models_that_cannot_be_fed_pictures_are_refused(tmp_path, pictures):
    """Missing files, foreign bytes and other inputs than one picture are named."""
    with pytest.raises(ModelError, match=r"none\.onnx does not exist"):
        check(tmp_path / "none.onnx", tmp_path / "none.onnx", images=pictures)
    (tmp_path / "text.onnx").write_text("x")
    with pytest.raises(ModelError, match="is a text file"):
        check(tmp_path / "text.onnx", tmp_path / "text.onnx", images=pictures)
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "flat.onnx")
    with pytest.raises(ModelError, match="one input of float32"):
        check(tmp_path / "flat.onnx", tmp_path / "flat.onnx", images=pictures)


@pytest.mark.parametrize("tail", ["com.example.NMS", "NonMaxSuppression"])
def test_instances_are_compared_before_they_are_selected(tmp_path, pictures, tail):
    """Behind an NMS rows do not correspond, wherever it can be run: that is said, and no number."""
    text = f"""<ir_version: 8, opset_import: ["" : 17, "com.example" : 1]>
    g (float[1,3,8,8] x) => (int64[k,3] z)
    <int64[3] by_box = {{1, 48, 4}}, int64[3] by_class = {{1, 4, 48}}, float t = {{0.5}}> {{
        boxes = Reshape(x, by_box) flat = Reshape(x, by_class) scores = Sigmoid(flat)
        z = {tail}(boxes, scores)
    }}"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    result = check(tmp_path / "m.onnx", tmp_path / "m.onnx", images=pictures)
    assert [part.part for part in result.parts] == ["boxes", "scores"]
    assert [name for name, _ in result.not_compared] == ["z"]
    assert "Not compared     z: " in str(result)


def test_labels_and_pictures_that_do_not_fit_are_refused(tmp_path, pictures, labels):
    """More categories than classes, and a folder without pictures."""
    model = write_detector(tmp_path / "m.onnx")
    content = json.loads(labels.read_text())
    content["categories"].append({"id": 2, "name": "circle"})
    labels.write_text(json.dumps(content))
    with pytest.raises(LabelError, match="2 classes and the model 1"):
        check(model, model, images=pictures, labels=labels)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no pictures"):
        check(model, model, images=tmp_path / "empty")


def test_progress_counts_every_picture(tmp_path, pictures):
    """One task with as many steps as pictures."""
    seen = []

    class Recorder(Silent):
        @contextmanager
        def task(self, name, total):
            seen.append((name, total))
            yield self

        def advance(self, note="", steps=1):
            seen.append(steps)

    model = write_detector(tmp_path / "m.onnx")
    check(model, model, images=pictures, progress=Recorder())
    assert seen == [("Comparing", 3), 1, 1, 1]


def test_without_coco_all_but_ap_is_compared(tmp_path, pictures, monkeypatch):
    """Boxes are paired, parts are compared, a note says what AP needs, and labels are refused."""
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    path = write_detector(tmp_path / "float.onnx")
    result = check(path, path, images=pictures, input_format=InputFormat())
    assert result.convention
    assert result.agreement is None
    assert (result.pairing.counts.kept, result.verdict.word) == (2, "good")
    assert result.parts
    needs = "comparing detections by AP needs faster_coco_eval: pip install 'zqc[coco]'"
    assert result.notes == (needs,)
    assert f"Note             {needs}" in str(result)
    assert not check(path, path, images=pictures, min_agreement=50).passed
    with pytest.raises(MissingPackageError, match="pip install"):
        check(path, path, images=pictures, labels=tmp_path / "labels.json")
