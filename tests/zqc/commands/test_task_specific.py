"""``--task-specific`` from the outside: labels beside pictures, and who is refused."""

import json
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest

from tests.passes.helpers import build_model
from tests.zqc.detection.conventions.families import facts_of
from tests.zqc.detection.conventions.test_queries import detr
from tests.zqc.synthesis.small_detector import detector
from tools.reference.conventions_families import QUERIES
from zqc.calibration.detection_sensitivity import detection_sensitivities
from zqc.commands.compile import compile_model
from zqc.commands.detector import Detector
from zqc.commands.synthesize import synthesize_to
from zqc.commands.task_specific import loss_of_detector, loss_of_pictures
from zqc.detection.labels.coco import read_coco
from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import Recipe

RECIPE = Recipe(task_specific=True, samples=3, effort="quick", input_format=InputFormat())


@pytest.fixture
def few_steps(monkeypatch):
    """Some steps are enough."""
    monkeypatch.setattr("zqc.commands.amounts._TASK_STEPS", {"quick": (4, 4)})


@pytest.fixture
def file(tmp_path):
    """The file of a detector."""
    path = tmp_path / "model.onnx"
    ir.save(detector(), path)
    return path


@pytest.mark.usefixtures("few_steps")
def test_labels_stand_beside_the_pictures(zqc, file, tmp_path):
    """They are read as ``zqc check`` reads them, name every picture, and lie inside of it."""
    folder = tmp_path / "out"
    options = ["--task-specific", "--samples", "3", "--effort", "quick", "--input-range", "0:1"]
    code, output, error = zqc("synthesize", file, "-o", folder, *options)
    assert code == 0, error
    assert "labels.json" in output
    labels = read_coco(folder / "labels.json")
    assert labels.categories == ("cat", "dog")
    content = json.loads((folder / "labels.json").read_text())
    names = [image["file_name"] for image in content["images"]]
    assert names == sorted(path.name for path in folder.glob("*.png"))
    for truth in labels.of(names):
        assert len(truth) >= 1
        assert truth.boxes.min() >= 0
        assert truth.boxes.max() <= 64


@pytest.mark.usefixtures("few_steps")
def test_compiled_with_task_specific_pictures(file, tmp_path):
    """The recipe in the file says so, and so does what it was calibrated with."""
    result = compile_model(file, tmp_path / "out.onnx", recipe=RECIPE, threads=1)
    metadata = ir.load(result.output).metadata_props
    assert "3 task-specific pictures" in str(metadata)
    assert "task_specific = true" in str(metadata)


@pytest.mark.parametrize(("bits", "act_bits"), [(8, 8), (4, 8), (4, 4)])
def test_what_is_found_counts_below_8_bits(file, tmp_path, monkeypatch, bits, act_bits):
    """The loss of a detector that is recognised decides bits and thresholds; at 8 bits nothing."""
    counted = []

    def seen(*arguments, **options):
        counted.append(detection_sensitivities(*arguments, **options))
        return counted[-1]

    monkeypatch.setattr("zqc.calibration.sensitivity.detection_sensitivities", seen)
    recipe = Recipe(
        bits=bits, act_bits=act_bits, samples=3, effort="quick", input_format=InputFormat()
    )
    compile_model(file, tmp_path / "out.onnx", recipe=recipe, no_statistics=True, threads=1)
    assert bool(counted) == (bits < 8)
    assert all(len(parts) == 2 for parts in counted)


def test_detectors_without_a_loss_are_refused(detector_file, tmp_path):
    """One message names the conventions that have one; nothing is written."""
    with pytest.raises(OptionError, match="a loss is known for YOLOv5, v8") as error:
        synthesize_to(detector_file, tmp_path / "out", recipe=RECIPE)
    assert "leave --task-specific out" in str(error.value)
    with pytest.raises(OptionError, match="a loss is known for YOLO"):
        compile_model(detector_file, tmp_path / "x.onnx", recipe=RECIPE)
    assert [path.name for path in tmp_path.iterdir()] == [detector_file.name]


@pytest.mark.parametrize("select", [False, True])
def test_queries_that_are_picked_anew_are_refused(select):
    """Weights can be learned with the loss of such a DETR, and no pictures be made with it."""
    model = detr(5, reference=True, select=select)
    loaded = SimpleNamespace(model=model)
    known = Detector.of(facts_of(model))
    assert loss_of_detector(loaded, known).picked == select
    if select:
        with pytest.raises(OptionError, match="picks its queries anew"):
            loss_of_pictures(loaded, known)
    else:
        assert loss_of_pictures(loaded, known).candidates == QUERIES


@pytest.mark.usefixtures("few_steps")
def test_pictures_for_an_ssd_need_its_anchors(tmp_path):
    """With them its pictures have labels; without --task-specific they are refused."""
    path, anchors = tmp_path / "ssd.onnx", tmp_path / "anchors.npy"
    ir.save(ssd(), path)
    corners = np.random.default_rng(3).uniform(0.2, 0.6, (12, 4)).astype(np.float32)
    np.save(anchors, corners)
    with pytest.raises(OptionError, match="not known how the outputs"):
        synthesize_to(path, tmp_path / "out", recipe=RECIPE)
    with pytest.raises(OptionError, match=r"anchors.npy would not be used"):
        synthesize_to(path, tmp_path / "out", recipe=RECIPE, task_specific=False, anchors=anchors)
    made = synthesize_to(path, tmp_path / "out", recipe=RECIPE, anchors=anchors, threads=1)
    assert read_coco(made.labels).of(["000.png"])


def ssd():
    """A network with BatchNorm and the outputs of an SSD with twelve anchors and two classes."""
    rng = np.random.default_rng(0)
    return build_model(
        """(float[N,3,64,64] images) => (float[N,12,4] codes, float[N,12,3] scores) {
            conv = Conv<kernel_shape=[16, 16], strides=[32, 32]>(images, stem)
            norm = BatchNormalization(conv, gamma, beta, mean, var)
            rows = Reshape(norm, flat)
            both = Transpose<perm=[0, 2, 1]>(rows)
            wide = MatMul(both, spread)
            tall = Reshape(wide, twelve)
            codes = Slice(tall, nothing, four, last)
            logits = Slice(tall, four, seven, last)
            scores = Softmax<axis=2>(logits)
        }""",
        opset=17,
        stem=rng.normal(0, 0.1, (8, 3, 16, 16)).astype(np.float32),
        gamma=np.ones(8, np.float32),
        beta=rng.normal(0, 0.3, 8).astype(np.float32),
        mean=rng.normal(0, 0.3, 8).astype(np.float32),
        var=rng.uniform(0.1, 0.5, 8).astype(np.float32),
        spread=rng.normal(0, 0.5, (8, 21)).astype(np.float32),
        flat=np.array([0, 8, -1]),
        twelve=np.array([0, 12, 7]),
        nothing=np.array([0]),
        four=np.array([4]),
        seven=np.array([7]),
        last=np.array([2]),
    )


def test_noise_shows_nothing(file, tmp_path):
    """Structured noise and objects exclude each other."""
    with pytest.raises(OptionError, match="--no-statistics asks for noise"):
        synthesize_to(file, tmp_path / "out", recipe=RECIPE, no_statistics=True)
    with pytest.raises(OptionError, match="--no-statistics asks for noise"):
        compile_model(file, tmp_path / "x.onnx", recipe=RECIPE, no_statistics=True)
