"""Small networks with the outputs of the YOLO families, and what their own packages find."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from zqc.detection.conventions.convention import Facts
from zqc.detection.nms import Selection
from zqc.detection.parts import output_parts

REFERENCE = Path(__file__).with_name("yolo_reference.npz")
"""Written by ``tools.reference.conventions_yolo``, with the two thresholds below."""

SELECTION = Selection(score_threshold=0.05, iou_threshold=0.5)
STRIDES = (8, 16, 32)


def reference(*names):
    """Arrays of the reference by name; what is found has been left in single precision."""
    with np.load(REFERENCE) as arrays:
        found = [arrays[name] for name in names]
    return [a.astype(np.float32) if a.dtype == np.float16 else a for a in found]


def facts_of(graph, size=64, metadata=None, **options):
    """What is known of a detector that is written as ONNX text."""
    head = '<ir_version: 8, opset_import: ["" : 17]> net '
    model = ir.from_proto(onnx.parser.parse_model(head + graph))
    shapes = {value.name: tuple(value.shape) for value in model.graph.outputs}
    return Facts(
        shapes,
        size,
        size,
        metadata=metadata or {},
        graph=model.graph,
        parts=output_parts(model),
        **options,
    )


def weights(*sizes):
    """Declarations of 1 x 1 weights from 3 channels to each of some sizes: w0 and so on."""
    return ", ".join(f"float[{n}, 3, 1, 1] w{i}" for i, n in enumerate(sizes))


def rows_network(*parts, size=64, prototypes=0):
    """The text of a network whose output N x R x A has such rows, for strides 8, 16 and 32.

    A part is ``("box", 4)``, ``("scores", C)`` behind a sigmoid, or ``("raw", n)``: as they come.
    ``prototypes`` are a second output N x P x size/4 x size/4.
    """
    cells = sum((size // s) ** 2 for s in STRIDES)
    total = sum(count for _, count in parts)
    lines, names = [], []
    for index, (kind, _) in enumerate(parts):
        grids = []
        for stride in STRIDES:
            name = f"p{index}_{stride}"
            grids.append(f"{name}_flat")
            lines += [
                f"{name} = Conv<strides = [{stride}, {stride}]>(images, w{index})",
                f"{name}_flat = Reshape({name}, n{index})",
            ]
        lines.append(f"p{index} = Concat<axis = 2>({', '.join(grids)})")
        end = {"box": f"Mul(p{index}, eight)", "scores": f"Sigmoid(p{index})"}
        lines.append(f"e{index} = {end.get(kind, f'Identity(p{index})')}")
        names.append(f"e{index}")
    lines.append(f"output0 = Concat<axis = 1>({', '.join(names)})")
    outputs = [f"float[1, {total}, {cells}] output0"]
    inputs = [f"float[1, 3, {size}, {size}] images", weights(*(count for _, count in parts))]
    if prototypes:
        outputs.append(f"float[1, {prototypes}, {size // 4}, {size // 4}] output1")
        inputs.append(f"float[{prototypes}, 3, 1, 1] wp")
        lines.append("output1 = Conv<strides = [4, 4]>(images, wp)")
    shapes = ", ".join(f"int64[3] n{i} = {{1, {count}, -1}}" for i, (_, count) in enumerate(parts))
    constants = f"float eight = {{8.0}}, {shapes}"
    body = "  ".join(lines)
    return f"({', '.join(inputs)}) => ({', '.join(outputs)}) <{constants}> {{ {body} }}"


def is_found(found, rows):
    """Whether detections are those of rows (x1, y1, x2, y2, score, class), to float precision."""
    mine = np.column_stack([found.boxes, found.scores, found.labels])
    if mine.shape != rows.shape:
        return False
    sort = [np.lexsort((a[:, 0], a[:, 5], -a[:, 4])) for a in (mine, rows)]
    best_first = (np.diff(found.scores) <= 0).all()
    return bool(best_first) and np.allclose(mine[sort[0]], rows[sort[1]], rtol=1e-5, atol=1e-4)
