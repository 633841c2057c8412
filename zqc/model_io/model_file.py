"""The border: read a model and make it ready; write one atomically."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from google.protobuf.message import EncodeError

from zqc.errors import ModelError, OutputError
from zqc.files.atomic import atomic_write
from zqc.model_io import child, lowest_opset, onnx_file, upgrade
from zqc.model_io.admission import PLUGINS, dimensions
from zqc.model_io.ends import Ends, joined, split
from zqc.model_io.interface import Interface
from zqc.model_io.preparation import inferred

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

INT4_OPSET = 21  # the first with INT4 in Cast and DequantizeLinear
METADATA_PREFIX = "zqc."


@dataclass(frozen=True)
class LoadedModel:
    """A model as it came in.

    Attributes:
        model: The model, ready for the pipeline, as far as it can be run and compared.
        name: The file it was read from, or what messages call it.
        sha256: Hash of the file, and of the external data behind it, in hexadecimal.
        bytes_on_disk: Size of both together.
        opset: Default operator set that the file declares.
        ir_version: IR version that it declares.
        interface: Its inputs and outputs, which a file that is made from it has, too.
        ends: What stands behind ``model``, and is left as it is.
    """

    model: ir.Model
    name: str
    sha256: str
    bytes_on_disk: int
    opset: int
    ir_version: int
    interface: Interface
    ends: Ends

    def restored(self, model: ir.Model, *, whole: bool = True) -> ir.Model:
        """What was made of ``model``, with the inputs, the outputs and the ends of the file.

        Args:
            model: It stays as it is.
            whole: Whether what was left as it is stands behind it again.
        """
        if whole and self.ends.reasons:
            model = joined(model, _raised(self.ends, model.opset_imports[""]))
        return self.interface.restored(model)

    def whole(self) -> ir.Model:
        """The model as the file holds it."""
        return self.restored(self.model)

    def part(self) -> ir.Model:
        """What of it can be run and compared, with the inputs of the file."""
        return self.restored(self.model, whole=False)

    def runnable(self) -> ir.Model:
        """The file, as far as ONNX Runtime has its operators."""
        return self.restored(self.model, whole=self.ends_run)

    @property
    def ends_run(self) -> bool:
        """Whether ONNX Runtime has the operators of the ends, so that the whole can be run."""
        return not self.ends.foreign


def load(
    source: Path | onnx.ModelProto | ir.Model,
    *,
    input_shape: tuple[int, int] | None = None,
    inputs: Mapping[str, Sequence[float]] | None = None,
) -> LoadedModel:
    """Read a float32 detector and make it ready for the pipeline, see ``preparation``.

    Nothing that the model makes foreign C++ do reaches this process, see ``child``. Models can be
    loaded in several threads at once.

    Args:
        source: An ONNX file, opset 7 or later, with its external data beside it; or a model in
            memory, which stays as it is.
        input_shape: Height and width for a model that leaves them open.
        inputs: Values of its inputs beside the picture, row by row; the usual ones by default.

    Raises:
        ModelError: The file cannot be read, or the model is none that zqc can work on.
        InputShapeError: A size is given and not the model's.
        OptionError: No value is known for an input beside the picture, or one is given for none.
        AlreadyQuantizedError: The model is quantized already.
    """
    values = inputs or {}
    if isinstance(source, Path):
        file, name = onnx_file.read(source), str(source)
    else:
        file, name = onnx_file.of_model(source), "the model"
    try:
        model = ir.from_proto(child.prepared(file.proto, input_shape=input_shape, inputs=values))
    except ModelError as error:
        raise type(error)(f"{name}: {error}") from error.__cause__
    _keep_interface(file.proto, model)
    interface = Interface.of(file.proto, model, values)
    try:
        model, ends = split(model)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
    if warning := ends.warning():
        logger.warning("%s: %s", name, warning)
    interface.give_values(model)
    opset, version = upgrade.opset(file.proto), file.proto.ir_version
    return LoadedModel(model, name, file.sha256, file.size, opset, version, interface, ends)


def raise_opset(model: ir.Model, version: int) -> ir.Model:
    """Raise the default operator set of a model to ``version`` and infer its shapes anew.

    A model that has the version already is returned as it is.

    Raises:
        ModelError: An operator has no equal in the newer set.
    """
    if model.opset_imports[""] >= version:
        return model
    proto = ir.to_proto(model)
    raised = inferred(upgrade.raise_opset(proto, version))
    _keep_interface(proto, raised)
    return raised


def serialize(
    model: ir.Model,
    *,
    metadata: Mapping[str, str],
    source: LoadedModel | None = None,
    whole: bool = True,
) -> bytes:
    """Return the file of a model, with the lowest opset and IR version that hold it.

    The same model gives the same bytes: shapes of intermediate values are left out, since every
    runtime infers them itself.

    Args:
        model: What to write; it stays as it is.
        metadata: Added to the model's own ``metadata_props``, each key behind ``zqc.``.
        source: What it was made from: the file has its inputs, outputs and ends. Without, it holds
            the model alone.
        whole: Whether it has the ends.

    Raises:
        OutputError: The model is not valid ONNX, or larger than protobuf can hold.
    """
    added = {METADATA_PREFIX + key: value for key, value in metadata.items()}
    try:
        if source is not None:
            model = source.restored(model, whole=whole)
        proto = ir.to_proto(lowest_opset.lowered(model))
        if source is not None:
            source.interface.declare(proto.graph)
        del proto.graph.value_info[:]
        imports = proto.opset_import
        proto.ir_version = onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True)
        onnx.helper.set_model_props(proto, dict(sorted((model.metadata_props | added).items())))
        onnx.checker.check_model(proto)
        _restore_plugins(proto)
        content: bytes = proto.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise OutputError("the result would be larger than 2 GB, which ONNX cannot hold") from error
    except onnx.checker.ValidationError as error:
        raise OutputError(f"the result would not be valid ONNX: {error}") from error
    return content


def _raised(ends: Ends, opset: int) -> Ends:
    """Bring what is left as it is to the operator set of what has been worked on."""
    if ends.tail is None or ends.tail.opset_imports[""] >= opset:
        return ends
    return replace(ends, tail=raise_opset(ends.tail, opset))


def _restore_plugins(proto: onnx.ModelProto) -> None:
    """Put the operators back into the default domain that ``set_plugins_apart`` took out of it."""
    imports = [each for each in proto.opset_import if each.domain != PLUGINS]
    if len(imports) == len(proto.opset_import):
        return
    del proto.opset_import[:]
    proto.opset_import.extend(imports)
    graphs = [proto.graph]
    while graphs:
        for node in graphs.pop().node:
            if node.domain == PLUGINS:
                node.domain = ""
            for attribute in node.attribute:
                graphs += [attribute.g] if attribute.HasField("g") else attribute.graphs


def save(model: ir.Model, path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write the file of a model, complete or not at all, see ``serialize``.

    Raises:
        OutputError: The model cannot be serialized, or the file cannot be written.
    """
    with atomic_write(path) as file:
        file.write(serialize(model, metadata=metadata))


def _keep_interface(before: onnx.ModelProto, model: ir.Model) -> None:
    """Carry over what users wrote into a model and what shape inference could not find out."""
    model.metadata_props.clear()
    model.metadata_props.update({entry.key: entry.value for entry in before.metadata_props})
    model.producer_name, model.producer_version = before.producer_name, before.producer_version
    model.domain, model.model_version = before.domain, before.model_version
    model.doc_string, model.graph.name = before.doc_string, before.graph.name
    model.graph.doc_string = before.graph.doc_string or None
    for value, declared in zip(model.graph.outputs, before.graph.output, strict=True):
        value.shape = _merged(value.shape, ir.serde.deserialize_value_info_proto(declared, None))


def _merged(inferred: ir.Shape | None, declared: ir.Value) -> ir.Shape | None:
    """The inferred shape, with the declared size or name where inference found no number."""
    if declared.shape is None:
        return inferred
    known = [None if size == "?" else size for size in dimensions(declared.shape)]
    if inferred is None:
        return ir.Shape(known)
    if len(inferred) != len(known):
        return inferred
    pairs = zip(inferred, known, strict=True)
    return ir.Shape(new if isinstance(new, int) or old is None else old for new, old in pairs)
