"""Comparing with other quantizers: what needs none of them installed."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import parser

from passes.analysis.topology import first_layers, last_layers, post_processing
from tests import nets

TOOLS = Path(__file__).parents[2] / "tools"
EXAMPLE = TOOLS.parent / "examples" / "detector.onnx"


@pytest.fixture(autouse=True)
def _paths(monkeypatch):
    """The tools and the runners import as they do when they run."""
    monkeypatch.syspath_prepend(TOOLS)
    monkeypatch.syspath_prepend(TOOLS / "peers" / "runners")


def environment(folder, seconds=60.0):
    """An environment whose python is the one that runs the tests."""
    from peers.environment import Environment

    made = Environment(folder, (), seconds)
    made.python.parent.mkdir(parents=True)
    made.python.symlink_to(sys.executable)
    return made


@pytest.fixture
def runners(tmp_path, monkeypatch):
    """A folder that runners are looked for in."""
    folder = tmp_path / "runners"
    folder.mkdir()
    monkeypatch.setattr("peers.environment.RUNNERS", folder)
    return folder


def run(tmp_path, seconds=60.0, **config):
    """Run ``run_it.py``."""
    made = environment(tmp_path / "environment", seconds)
    paths = [tmp_path / name for name in ("model.onnx", "pictures.npz", "out.onnx")]
    return made.run("run_it.py", *paths, config)


def test_edges_of_the_example_are_those_of_the_compiler():
    """What peers get at 8 bits is what zqc keeps at 8 bits; the DFL they leave in float."""
    import common

    graph = ir.load(EXAMPLE).graph
    expected = {node.name for node in (*first_layers(graph), *last_layers(graph))}
    found = {node.name for node in common.edges(onnx.load(EXAMPLE))}
    assert len(found) == 7
    assert expected - found == {"/dfl/Conv"}
    assert found < expected


def test_post_processing_of_a_net_is_that_of_the_passes():
    """Without an expectation the rule is that of ``passes.analysis.topology``."""
    import common

    model = nets.detector()
    for number, node in enumerate(model.graph.node):
        node.name = f"node{number}"
    expected = {node.name for node in post_processing(ir.from_proto(model).graph)}
    assert expected
    assert set(common.post_processing(model)) == expected


def test_an_expectation_belongs_to_the_post_processing():
    """What lies between the last trained layer and a DFL is left in float, too."""
    import common

    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,4,2,2] x) => (float[1,1,2,2] y)
        <float[4,4,1,1] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, float[1,4,1,1] bins = {0,1,2,3}>
        {
            [conv] a = Conv (x, w)
            [softmax] p = Softmax <axis = 1> (a)
            [dfl] e = Conv (p, bins)
            [relu] y = Relu (e)
        }"""
    )
    assert common.post_processing(model) == ["softmax", "dfl", "relu"]
    assert [node.name for node in common.edges(model)] == ["conv"]


def test_batches_hold_the_pictures_in_order_where_the_batch_is_free():
    """Pictures are joined for a free batch only."""
    import common

    feeds = [{"images": np.full((1, 3, 2, 2), n)} for n in range(5)]
    model = onnx.load(EXAMPLE)
    sizes = [batch["images"][:, 0, 0, 0].tolist() for batch in common.batched(model, feeds, 2)]
    assert sizes == [[0, 1], [2, 3], [4]]
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    assert common.batched(model, feeds, 2) is feeds


def test_a_runner_gets_model_pictures_and_config(tmp_path):
    """The protocol between the tool and a runner: arguments in, seconds in the last line out."""
    np.savez(tmp_path / "pictures.npz", images=np.arange(2, dtype=np.float32).reshape(2, 1, 1, 1))
    runner = tmp_path / "run_it.py"
    runner.write_text(
        "import common\n"
        "def quantize(model, feeds, output, config):\n"
        "    reader = common.Reader(feeds)\n"
        "    read = [float(reader.get_next()['images'].sum()) for _ in feeds]\n"
        "    print('noise')\n"
        "    output.write_text(f'{model.name} {read} {reader.get_next()} {config}')\n"
        "common.run(quantize)\n"
    )
    paths = [str(tmp_path / name) for name in ("m.onnx", "pictures.npz", "out.onnx")]
    done = subprocess.run(
        [sys.executable, runner, *paths, '{"a": 1}'],
        env={"PYTHONPATH": str(TOOLS / "peers" / "runners")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "out.onnx").read_text() == "m.onnx [0.0, 1.0] None {'a': 1}"
    assert 0 <= json.loads(done.stdout.splitlines()[-1])["seconds"] < 10


def test_the_seconds_of_a_runner_come_back(tmp_path, runners):
    """The last line counts, whatever a library prints before it."""
    (runners / "run_it.py").write_text(
        "import sys\nopen(sys.argv[3], 'w').write('x')\nprint('chatter')\nprint('{\"seconds\": 7}')"
    )
    assert run(tmp_path) == 7


def test_a_failure_is_skipped_with_its_last_line(tmp_path, runners):
    """The reason is what the library said last."""
    from peers.environment import SkippedError

    (runners / "run_it.py").write_text("raise ValueError('no such layer')")
    with pytest.raises(SkippedError, match="running it failed: ValueError: no such layer"):
        run(tmp_path)


def test_a_runner_that_writes_nothing_is_skipped(tmp_path, runners):
    """Success without a file is none."""
    from peers.environment import SkippedError

    (runners / "run_it.py").write_text("print('{\"seconds\": 7}')")
    with pytest.raises(SkippedError, match="it wrote no file"):
        run(tmp_path)


def test_what_takes_too_long_is_ended_with_its_children(tmp_path, runners):
    """The time limit holds, and nothing that the runner started goes on."""
    from peers.environment import SkippedError

    mark = tmp_path / "alive"
    child = f"import time; time.sleep(2); open({str(mark)!r}, 'w')"
    (runners / "run_it.py").write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    )
    with pytest.raises(SkippedError, match="running it took more than 1 s"):
        run(tmp_path, seconds=1.0)
    time.sleep(1.5)
    assert not mark.exists()


def test_what_cannot_be_installed_is_skipped(tmp_path, monkeypatch):
    """That there is no environment is a reason, not an error; the next time it is tried again."""
    from peers.environment import Environment, SkippedError

    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho it is raining >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    made = Environment(tmp_path / "environment", ("a==1",), 60.0)
    for _ in range(2):
        with pytest.raises(SkippedError, match="making its environment failed: it is raining"):
            made.ensure()


def test_an_environment_is_made_once(tmp_path):
    """With the same requirements nothing is installed again."""
    from peers.environment import Environment

    made = Environment(tmp_path / "environment", ("a==1",), 60.0)
    made.folder.mkdir()
    (made.folder / "installed.txt").write_text("a==1")
    made.ensure()
    assert [path.name for path in made.folder.iterdir()] == ["installed.txt"]


def test_the_table_shows_what_was_measured_and_why_the_rest_was_not():
    """Numbers stand in the table, reasons below it."""
    from peers.measure import Measured, Row, table

    rows = [
        Row("A", "W8A8", "default", 64, 12.3, Measured(0.8, 0.7512, 0.25, 3, 4, latency=0.5)),
        Row("A", "W4A8", "default", 64, 12.3, Measured(0.8, 0.7512, 0.25, 3, 4)),
        Row("B", "W4A8", "default", 64, skipped="too slow"),
    ]
    text = table(rows)
    assert "| A | W8A8 | default | 64 | 75.1 | 0.250 | 0.50 × | 3/4 | 12 s |" in text
    assert "| A | W4A8 | default | 64 | 75.1 | 0.250 | – | 3/4 | 12 s |" in text
    assert text.endswith("\n\nB W4A8 (default) is skipped: too slow")


def test_every_peer_has_its_runner():
    """The catalogue and the folder of runners agree, and every version is pinned."""
    from peers.catalogue import PEERS

    found = {path.stem for path in (TOOLS / "peers" / "runners").glob("run_*.py")}
    assert found == {f"run_{peer.key}" for peer in PEERS}
    assert all("==" in requirement for peer in PEERS for requirement in peer.requirements)
