"""Any model, whether zqc could compile it or not: what of it runs here, for check and bench."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from zqc.errors import DAMAGED, ModelError
from zqc.files.scratch import scratch_folder
from zqc.model_io import child, onnx_file, upgrade
from zqc.model_io.admission import check_structure, set_plugins_apart
from zqc.model_io.ends import Ends, split

logger = logging.getLogger(__name__)


def split_file(path: Path) -> tuple[ir.Model, ir.Model, Ends]:
    """Read any model, quantized or not, and cut it; return the whole, what runs, and the rest.

    Raises:
        ModelError: The file cannot be read, contradicts itself, nothing of it can be run, or the
            first run of it, in a child process, does not end well.
    """
    file = onnx_file.read(path).proto
    try:
        model = ir.from_proto(upgrade.plain(file))
        check_structure(model)
        set_plugins_apart(model)
        model.graph.sort()
        part, ends = split(model)
        child.try_out(ir.to_proto(part) if ends.foreign else file)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:  # onnx and onnx_ir raise many kinds where a model is damaged
        said = upgrade.first_line(upgrade.root(error))
        raise ModelError(f"{path}: {DAMAGED} ({said})") from error
    return model, part, ends


@contextmanager
def runnable(path: Path) -> Iterator[Path]:
    """Give a file that ONNX Runtime lacks operators for another one, with what it can run of it.

    Any other file is its own.

    Raises:
        ModelError: See ``split_file``.
    """
    _, part, ends = split_file(path)
    if not ends.foreign:
        yield path
        return
    logger.warning("%s: %s", path, ends.warning())
    with scratch_folder() as folder:
        file = folder / path.name
        file.write_bytes(ir.to_proto(part).SerializeToString())
        yield file
