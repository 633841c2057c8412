"""The command line: every way to use it, and one line for every way to use it wrongly."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests import nets
from zqc.cli.options import input_format
from zqc.commands import compile as compiler
from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat

ROOT = Path(__file__).parents[3]
FAST = ["--effort", "quick", "--samples", "4", "--threads", "1"]


def entries(folder):
    """Names of everything in a folder, hidden files included."""
    return sorted(entry.name for entry in folder.iterdir())


def test_version(zqc):
    """The version is the one of the installed package."""
    assert zqc("--version") == (0, f"zqc {version('zqc')}\n", "")


@pytest.mark.parametrize(
    "command", [[], ["compile"], ["tune"], ["synthesize"], ["inspect"], ["check"], ["bench"]]
)
def test_help(zqc, command):
    """Every command explains itself."""
    code, out, err = zqc(*command, "--help")
    assert code == 0
    assert out.startswith("Usage: zqc")
    assert err == ""


@pytest.mark.parametrize(("bits", "name"), [(8, "detector.int8.onnx"), (4, "detector.w4a8.onnx")])
def test_compile(zqc, detector_file, bits, name):
    """The result stands beside the model, the summary on stdout, the progress on stderr."""
    code, out, err = zqc("compile", detector_file, "--bits", bits, *FAST)
    assert code == 0, err
    path = detector_file.with_name(name)
    assert entries(detector_file.parent) == sorted([detector_file.name, name])
    onnx.checker.check_model(str(path))
    for fact in ("Calibration", "Integer kernels  3/3", "Size", "Latency", "scores:", str(path)):
        assert fact in out
    assert "Synthesising" in err
    assert "\x1b" not in out + err


def test_compile_twice(zqc, detector_file, tmp_path):
    """The same command gives the same bytes, and the input stays as it was."""
    before = detector_file.read_bytes()
    paths = [tmp_path / "first.onnx", tmp_path / "second.onnx"]
    for path in paths:
        assert zqc("compile", detector_file, "-o", path, "--bits", 4, *FAST)[0] == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert detector_file.read_bytes() == before


def test_compile_with_a_report(zqc, detector_file, tmp_path):
    """--report writes the page beside the model, and is refused early where it cannot be."""
    folder = ["--images", tmp_path / "pictures"]
    folder[1].mkdir()
    Image.new("RGB", (20, 20), "red").save(folder[1] / "a.png")
    report = tmp_path / "report.html"
    code, _, err = zqc("compile", detector_file, *folder, "--report", report)
    assert code == 0, err
    html = report.read_text(encoding="utf-8")
    assert f"--images {folder[1]}" in html
    assert detector_file.name in html
    code, _, err = zqc("compile", detector_file, *folder, "--report", tmp_path / "none" / "r.html")
    assert code == 1
    assert "make it first" in err


def test_compile_json(zqc, detector_file):
    """With --json the standard output is one JSON object with every result."""
    code, out, _ = zqc("compile", detector_file, "--json", *FAST)
    assert code == 0
    result = json.loads(out, parse_constant=pytest.fail)
    assert result["output"] == str(detector_file.with_name("detector.int8.onnx"))
    assert [layer["integer"] for layer in result["layers"]] == [True] * 3


def test_synthesize_and_use(zqc, detector_file, tmp_path):
    """Synthesised pictures are written, and compile and check take them."""
    folder = tmp_path / "pictures"
    code, out, err = zqc("synthesize", detector_file, "-o", folder, *FAST)
    assert code == 0, err
    assert str(folder) in out
    assert len([name for name in entries(folder) if name.endswith(".png")]) == 4
    (tensors,) = folder.glob("*.npz")
    quantized = tmp_path / "quantized.onnx"
    code, out, err = zqc("compile", detector_file, "-o", quantized, "--images", tensors)
    assert code == 0, err
    assert "Synthesising" not in err
    code, out, err = zqc("check", detector_file, quantized, "--images", folder)
    assert code == 0, err
    assert "scores: SQNR" in out


def test_the_input_format_is_found_and_said(zqc, detector_file, tmp_path):
    """Every command that turns pixels into values says how, and a given format is taken."""
    found = "Input            0:1 (found from the BatchNorm statistics; --input-range=0:1 says"
    folder, quantized = tmp_path / "pictures", tmp_path / "quantized.onnx"
    for arguments in (
        ("synthesize", detector_file, "-o", folder, *FAST),
        ("compile", detector_file, "-o", quantized, "--images", folder),
        ("check", detector_file, detector_file, "--images", folder),
    ):
        given = zqc(*arguments, "--input-range=-1:1")[1]
        assert re.search(r"^Input            -1:1(; other sizes: \w+)?$", given, re.M)
        code, out, err = zqc(*arguments)
        assert code == 0, err
        assert found in out
    command = ("check", detector_file, detector_file, "--images", folder, "--json")
    assert json.loads(zqc(*command)[1])["input_choice"]["flags"] == "--input-range=0:1"


def test_check_takes_the_input_format_that_was_compiled_with(zqc, detector_file, tmp_path):
    """It stands in the quantized file; nobody need type it twice, and an option still counts."""
    folder, quantized = tmp_path / "pictures", tmp_path / "quantized.onnx"
    folder.mkdir()
    Image.fromarray(np.full((16, 16, 3), 99, np.uint8)).save(folder / "grey.png")
    command = ("compile", detector_file, "-o", quantized, "--images", folder)
    assert zqc(*command, "--input-range=-1:1")[0] == 0
    command = ("check", detector_file, quantized, "--images", folder)
    code, out, err = zqc(*command)
    assert code == 0, err
    assert "Input            -1:1 (from the recipe in the quantized model); other sizes: " in out
    assert "Input            0:2; other sizes: " in zqc(*command, "--input-range=0:2")[1]


def test_folded_models_take_pixels_as_ever(zqc, tmp_path):
    """Without statistics pictures of one's own become 0:1, and the summary says so."""
    folded, folder = tmp_path / "folded.onnx", tmp_path / "pictures"
    onnx.save(nets.without_batch_norm(), folded)
    folder.mkdir()
    Image.fromarray(np.full((16, 16, 3), 99, np.uint8)).save(folder / "grey.png")
    quantized = tmp_path / "quantized.onnx"
    for arguments in (
        ("compile", folded, "-o", quantized, "--images", folder),
        ("check", folded, quantized, "--images", folder),
    ):
        code, out, err = zqc(*arguments)
        assert code == 0, err
        assert "Input            0:1 (assumed; --input-range" in out


def test_ready_tensors_need_no_format(zqc, tmp_path):
    """A doubt about the pixels' range is no error where there are no pixels."""
    model, tensors = tmp_path / "doubt.onnx", tmp_path / "tensors.npz"
    onnx.save(doubtful(), model)
    np.savez(tensors, images=np.zeros((2, 3, 16, 16), np.float32))
    quantized = tmp_path / "quantized.onnx"
    code, out, err = zqc("compile", model, "-o", quantized, "--images", tensors)
    assert code == 0, err
    assert "0:1 (assumed" in out
    np.savez(tensors, images=np.zeros((2, 16, 16, 3), np.uint8))
    code, _, err = zqc("check", model, quantized, "--images", tensors)
    assert code == 1
    assert "cannot be told" in err


def test_compile_like_python(zqc, detector_file, tmp_path, monkeypatch):
    """Every option reaches the library as it was meant."""
    seen = {}

    def record(source, output, **options):
        seen.update(options, source=source, output=output)
        raise OptionError("enough")

    monkeypatch.setattr(compiler, "compile_model", record)
    options = (
        "--bits 4 --act-bits 4 --first-last-bits 4 --samples 3 --seed 7 --input-range=-1:1 --bgr "
        "--input-shape 1x3x32x48 --target portable --effort thorough --keep-float *a* "
        "--keep-float b --threads 2 --bn-terms std --tie-channels"
    )
    zqc("compile", detector_file, "-o", tmp_path / "x.onnx", "--images", "y", *options.split())
    recipe = seen["recipe"]
    assert (recipe.bits, recipe.act_bits, recipe.first_last_bits) == (4, 4, 4)
    assert (recipe.samples, recipe.seed, recipe.effort) == (3, 7, "thorough")
    assert (recipe.input_format.low, recipe.input_format.high) == ((-1.0,), (1.0,))
    assert recipe.input_format.bgr
    assert recipe.input_shape == (32, 48)
    assert recipe.target == "portable"
    assert recipe.keep_float == ("*a*", "b")
    assert (recipe.bn_terms, recipe.tie_channels) == ("std", True)
    assert (seen["source"], seen["output"]) == (detector_file, tmp_path / "x.onnx")
    assert seen["threads"] == 2


def test_input_options():
    """A range, or mean with standard deviation, or neither: then it is to be found."""
    assert input_format(None, None, None, False) == "RGB"
    assert input_format(None, None, None, True) == "BGR"
    assert input_format((-1.0, 1.0), None, None, True) == InputFormat((-1.0,), (1.0,), True)
    normalised = input_format(None, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), True)
    assert normalised.low == (-2.0, -2.0, -2.0)
    assert normalised.bgr
    for contradiction in (
        ((0.0, 1.0), (0.5,), (0.5,), False),
        (None, (0.5,), None, False),
        (None, None, (0.5,), False),
        ((1.0, 0.0), None, None, False),
    ):
        with pytest.raises(OptionError):
            input_format(*contradiction)


@pytest.mark.parametrize("size", ["16x16", "16,16", "1x3x16x16", "16X16"])
def test_input_shape_is_written_in_any_way(zqc, tmp_path, size):
    """A size may be written as users of other tools write it."""
    path = tmp_path / "model.onnx"
    onnx.save(nets.detector(height="H", width="W"), path)
    code, out, _ = zqc("inspect", path, "--input-shape", size)
    assert code == 0
    assert "N×3×16×16" in out


def test_bench(zqc, detector_file, monkeypatch):
    """Two models are measured, and nothing is written; JSON names every kernel."""
    monkeypatch.setattr("zqc.commands.bench.peak_memory", lambda *args, **options: 1000)
    command = ("bench", detector_file, detector_file, "--runs", 2)
    code, out, err = zqc(*command, "--top", 1)
    assert code == 0, err
    for fact in ("Machine", "2 runs", "Integer layers   0/3 → 0/3", "Operators", "Slowest"):
        assert fact in out
    assert "Measuring" in err
    result = json.loads(zqc(*command, "--json")[1])
    assert result["float_model"]["kernels"]
    assert result["speedup"]["median"] > 0
    assert entries(detector_file.parent) == [detector_file.name]
    code, _, err = zqc(*command, "--provider", "npu")
    assert (code, "it has" in err) == (1, True)


def test_inspect(zqc, detector_file):
    """Interface, layers, BatchNorm and the beginning of the post-processing are shown."""
    code, out, err = zqc("inspect", detector_file)
    assert (code, err) == (0, "Inspecting detector.onnx\n")
    for fact in (
        "images: float32 N×3×16×16",
        "output: float32 N×6×64",
        "3 Conv",
        "BatchNorm        1",
        "begins at Reshape",
    ):
        assert fact in out
    inspection = json.loads(zqc("inspect", detector_file, "--json")[1])
    assert inspection["batch_norms"] == 1
    assert [layer["op_type"] for layer in inspection["layers"]] == ["Conv"] * 3


def doubtful():
    """A detector whose statistics are those of no pictures."""
    proto = nets.detector()
    for tensor in proto.graph.initializer:
        if tensor.name == "mean":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32([9, -9] * 4), "mean"))
    return proto


def quantized():
    """A detector that somebody quantized."""
    proto = nets.detector()
    proto.graph.node.append(
        onnx.helper.make_node("QuantizeLinear", ["output", "stride"], ["q"], name="quantize")
    )
    proto.graph.output.append(onnx.helper.make_tensor_value_info("q", onnx.TensorProto.UINT8, None))
    return proto


@pytest.fixture
def bad_folder(tmp_path):
    """A folder with everything that users give by mistake."""
    good = nets.detector().SerializeToString()
    contents = {
        "good.onnx": good,
        "empty.onnx": b"",
        "text.onnx": b"def model():\n    pass\n",
        "cut.onnx": good[:500],
        "folded.onnx": nets.without_batch_norm().SerializeToString(),
        "no_rule.onnx": nets.without_gradient().SerializeToString(),
        "doubt.onnx": doubtful().SerializeToString(),
        "quantized.onnx": quantized().SerializeToString(),
        "pictures/broken.png": b"no picture",
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return tmp_path


BAD = {
    "missing file": ("missing.onnx", "does not exist"),
    "folder": (".", "is a folder"),
    "empty file": ("empty.onnx", "is empty"),
    "text file": ("text.onnx", "text file"),
    "truncated": ("cut.onnx", "cut short"),
    "no BatchNorm": ("folded.onnx --require-statistics", "--images"),
    "no gradient rule": (
        "no_rule.onnx --input-range 0:1 --require-statistics",
        "Det",
        "determinant",
        "--images",
    ),
    "quantized already": ("quantized.onnx", "QuantizeLinear 'quantize'"),
    "input format in doubt": ("doubt.onnx", "--input-range=0:1 (0:1)", "--mean", "cannot be told"),
    "size of a fixed input": ("good.onnx --input-shape 8x8", "fixed"),
    "range upside down": ("good.onnx --input-range 1:0", "1:0"),
    "range and mean": ("good.onnx --input-range 0:1 --mean 0 --std 1", "exclude"),
    "mean alone": ("good.onnx --mean 0.5", "--std"),
    "no samples": ("good.onnx --samples 0", "at least 1"),
    "output is the input": ("good.onnx -o good.onnx", "is the input"),
    "output nowhere": ("good.onnx -o nowhere/out.onnx", "mkdir -p nowhere"),
    "output is a folder": ("good.onnx -o pictures", "is a folder"),
    "no pictures there": ("good.onnx --images nowhere", "nowhere"),
    "broken pictures": ("good.onnx --images pictures", "broken.png"),
    "nothing matches": ("good.onnx --keep-float nothing*", "nothing*"),
}


@pytest.mark.parametrize(("arguments", "words"), [(a, w) for a, *w in BAD.values()], ids=BAD)
def test_compile_bad_input(zqc, bad_folder, monkeypatch, arguments, words):
    """Bad input is one line on stderr that says what and why, exit code 1, and nothing written."""
    monkeypatch.chdir(bad_folder)
    before = entries(bad_folder)
    code, out, err = zqc("compile", *arguments.split())
    assert code == 1
    assert out == ""
    assert "Traceback" not in err
    *progress, line = err.splitlines()
    assert line.startswith("Error: ")
    assert not any("Error" in earlier for earlier in progress)
    for word in words:
        assert word in line
    assert entries(bad_folder) == before
    assert (bad_folder / "good.onnx").read_bytes() == nets.detector().SerializeToString()


@pytest.mark.parametrize(
    ("name", "options"), [("folded.onnx", []), ("no_rule.onnx", ["--input-range", "0:1"])]
)
def test_compile_without_statistics(zqc, bad_folder, name, options):
    """Without any option for it a file is written; one line says of what, and what is better."""
    code, out, err = zqc("compile", bad_folder / name, *options)
    assert code == 0
    assert (bad_folder / name).with_suffix(".int8.onnx").is_file()
    said = [line for line in out.splitlines() if "structured noise;" in line]
    assert len(said) == 1
    assert said[0].startswith("Warning ")
    assert "--images DIRECTORY" in said[0]
    assert len([line for line in err.splitlines() if "noise" in line]) == 1
    code, out, _ = zqc("compile", bad_folder / name, "--json", "--bits", "4", *options)
    assert (code, "calibrated with structured noise" in json.loads(out)["caution"]) == (0, True)


def test_the_recipe_of_a_model_without_statistics(zqc, bad_folder):
    """It is known without any work, unless statistics are required."""
    folded = bad_folder / "folded.onnx"
    assert zqc("compile", folded, "--dry-run")[0] == 0
    code, _, err = zqc("compile", folded, "--dry-run", "--require-statistics")
    assert (code, "no BatchNormalization left" in err) == (1, True)


def test_errors_as_json(zqc, tmp_path):
    """With --json an error is the one JSON object on stdout, a wrong command line too."""
    code, out, err = zqc("compile", tmp_path / "missing.onnx", "--json")
    assert code == 1
    assert "Error" not in err
    error = json.loads(out)["error"]
    assert error["type"] == "ModelError"
    assert "missing.onnx does not exist" in error["message"]
    code, out, err = zqc("compile", "--json")
    assert (code, err) == (2, "")
    assert "MODEL" in json.loads(out)["error"]["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        "compile",
        "compile model.onnx --bits 9",
        "compile model.onnx --bn-terms neither",
        "compile model.onnx --input-range 3",
        "compile model.onnx --mean red --std 1",
        "compile model.onnx --input-shape large",
        "compile model.onnx --quiet",
        "decompile model.onnx",
        "synthesize model.onnx",
        "check model.onnx",
    ],
)
def test_wrong_command_line(zqc, arguments):
    """What does not parse is a usage error with exit code 2."""
    code, out, err = zqc(*arguments.split())
    assert code == 2
    assert out == ""
    assert "Usage: zqc" in err
    assert "Error: " in err
    assert "Traceback" not in err


def test_full_disk(zqc, detector_file, monkeypatch):
    """No space left is one line that names the file, and nothing half-written stays."""

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    code, _, err = zqc("compile", detector_file, *FAST)
    assert code == 1
    assert "Error: no space left on the device of" in err
    assert "Traceback" not in err
    assert entries(detector_file.parent) == [detector_file.name]


def test_interrupted(zqc, detector_file, monkeypatch):
    """Ctrl-C is one line and exit code 130."""

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(compiler, "compile_model", interrupt)
    code, out, err = zqc("compile", detector_file)
    assert code == 130
    assert out == ""
    assert err.splitlines()[-1] == "Error: interrupted, nothing was written"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_interrupted_for_real(tmp_path):
    """A process that gets SIGINT while it works ends with 130 and leaves nothing."""
    model = shutil.copy(ROOT / "examples" / "detector.onnx", tmp_path)
    script = (
        "import zqc.cli.main, zqc.commands.compile; print('ready', flush=True); zqc.cli.main.main()"
    )
    command = [sys.executable, "-c", script, "compile", model, "--effort", "thorough"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        process.stdout.readline()
        time.sleep(1)  # by then it loads or synthesises, and it needs minutes for it all
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    assert entries(tmp_path) == ["detector.onnx"]


def test_too_little_memory(zqc, detector_file, monkeypatch):
    """It is no defect: one line says what was too much, and what helps."""

    def fail(*arguments, **options):
        raise MemoryError("Unable to allocate 824. GiB")

    monkeypatch.setattr(compiler, "compile_model", fail)
    code, _, err = zqc("compile", detector_file)
    said = "Error: not enough memory: Unable to allocate 824. GiB; take fewer pictures or a smaller"
    assert (code, err.splitlines()[-1].startswith(said)) == (1, True)


def test_unexpected_error(zqc, detector_file, monkeypatch):
    """A defect is one line with its type and a hint; --verbose shows where it is."""

    def fail(*arguments, **options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(compiler, "compile_model", fail)
    code, out, err = zqc("compile", detector_file)
    assert (code, out) == (70, "")
    line = err.splitlines()[-1]
    assert line.startswith("Error: unexpected ZeroDivisionError: division by zero")
    assert "--verbose" in line
    assert "Traceback" not in err
    assert "Traceback" in zqc("compile", detector_file, "--verbose")[2]


def test_reader_that_leaves(detector_file):
    """A pipe that closes early, as head does, is no error to talk about."""
    command = (
        f"'{sys.executable}' -c 'from zqc.cli.main import main; main()' inspect '{detector_file}'"
    )
    result = subprocess.run(
        f"{command} | true", shell=True, capture_output=True, text=True, check=False
    )
    said = {line.partition(":")[0] for line in result.stderr.splitlines()}
    assert said == {"Inspecting detector.onnx"}  # again where the machine is slow
