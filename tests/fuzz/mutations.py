"""Changes of a model that leave it one, more or less: each knows what it changes.

Every mutation takes a model, which it changes in place, and a seeded generator.
"""

from contextlib import suppress

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

NUMBERS = (0, 1, -1, 2, 3, 7, 255, 2**31 - 1, 2**31, 2**40, -(2**40), 2**62)
FLOATS = (0.0, -1.0, 1e-30, 1e30, float("inf"), -float("inf"), float("nan"))


def pick(rng, values):
    """One of some values; None where there are none."""
    values = list(values)
    return values[int(rng.integers(len(values)))] if values else None


def nodes(model):
    """All nodes, those of subgraphs and functions included."""
    found, todo = [], [model.graph, *model.functions]
    while todo:
        for node in todo.pop().node:
            found.append(node)
            for attribute in node.attribute:
                todo += [attribute.g] if attribute.HasField("g") else attribute.graphs
    return found


def names(model):
    """Names that are read or written somewhere."""
    found = {name for node in nodes(model) for name in (*node.input, *node.output)}
    return sorted(found | {tensor.name for tensor in model.graph.initializer} | {"nobody"})


def tensors(model):
    """Initializers and the values of constants."""
    values = [a.t for node in nodes(model) for a in node.attribute if a.HasField("t")]
    return [*model.graph.initializer, *values]


def another_input(model, rng):
    """A node reads something else."""
    node = pick(rng, (n for n in nodes(model) if n.input))
    node.input[int(rng.integers(len(node.input)))] = pick(rng, [*names(model), ""])


def another_output(model, rng):
    """A node writes something else."""
    node = pick(rng, (n for n in nodes(model) if n.output))
    node.output[int(rng.integers(len(node.output)))] = pick(rng, [*names(model), ""])


def fewer_or_more_inputs(model, rng):
    """A node has another number of inputs."""
    node = pick(rng, nodes(model))
    if rng.random() < 0.5 and node.input:
        del node.input[int(rng.integers(len(node.input)))]
    else:
        node.input.append(pick(rng, names(model)))


def another_operator(model, rng):
    """A node is of another operator."""
    known = [node.op_type for node in nodes(model)]
    others = ("Identity", "Softmax", "MaxPool", "TopK", "NonZero", "Loop", "Conv", "Mu|", "Div")
    node = pick(rng, nodes(model))
    node.op_type = pick(rng, [*known, *others])
    if rng.random() < 0.2:
        node.domain = pick(rng, ["", "ai.onnx", "com.microsoft", "some.where", "ai.onnx.ml"])


def node_gone(model, rng):
    """A node is left out."""
    place = int(rng.integers(len(model.graph.node)))
    del model.graph.node[place]


def node_twice(model, rng):
    """A node stands there twice."""
    model.graph.node.append(pick(rng, model.graph.node))


def another_order(model, rng):
    """The nodes stand in another order."""
    order = rng.permutation(len(model.graph.node))
    shuffled = [onnx.NodeProto.FromString(model.graph.node[i].SerializeToString()) for i in order]
    del model.graph.node[:]
    model.graph.node.extend(shuffled)


def another_number(model, rng):
    """An attribute has another number."""
    node = pick(rng, (n for n in nodes(model) if n.attribute))
    if node is None:
        return
    attribute = pick(rng, node.attribute)
    if attribute.type == AttributeProto.INT:
        attribute.i = pick(rng, NUMBERS)
    elif attribute.type == AttributeProto.INTS and attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = pick(rng, NUMBERS)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = pick(rng, FLOATS)
    elif attribute.type == AttributeProto.STRING:
        attribute.s = pick(rng, [b"", b"SAME_UPPER", b"VALID", b"\xff\xfe", b"cubic", b"linear"])


def another_length(model, rng):
    """A list of numbers is longer or shorter."""
    node = pick(rng, (n for n in nodes(model) if any(a.ints for a in n.attribute)))
    if node is None:
        return
    attribute = pick(rng, (a for a in node.attribute if a.ints))
    if rng.random() < 0.5:
        attribute.ints.append(pick(rng, NUMBERS))
    else:
        del attribute.ints[-1]


def another_attribute(model, rng):
    """An attribute is renamed, dropped, new, there twice or of another type."""
    node = pick(rng, nodes(model))
    attribute = pick(rng, node.attribute)
    choice = int(rng.integers(5))
    known = ("group", "strides", "pads", "axis", "to", "perm", "auto_pad", "mode", "dilations")
    if attribute is None or choice == 0:
        value = pick(rng, [1, [0, 0], [1, 1], "VALID", 0.5, [2**40]])
        node.attribute.append(helper.make_attribute(pick(rng, known), value))
    elif choice == 1:
        attribute.name = pick(rng, [*known, attribute.name[:-1] + "u"])
    elif choice == 2:
        node.attribute.remove(attribute)
    elif choice == 3:
        node.attribute.append(attribute)
    else:
        attribute.type = int(rng.integers(0, 15))


def another_shape(model, rng):
    """A parameter has another shape than its data."""
    tensor = pick(rng, tensors(model))
    sizes = list(tensor.dims)
    choice = int(rng.integers(3))
    if choice == 0 and sizes:
        sizes[int(rng.integers(len(sizes)))] = pick(rng, NUMBERS)
    elif choice == 1:
        sizes = sizes[::-1]
    else:
        sizes = [*sizes, 1] if rng.random() < 0.5 else sizes[1:]
    tensor.dims[:] = sizes


def another_array(model, rng):
    """A parameter has another shape, and data that fit it."""
    tensor = pick(rng, tensors(model))
    array = _array(tensor)
    if array is None:
        return
    choice = int(rng.integers(4))
    if choice == 0:
        array = array[:1] if array.ndim else array
    elif choice == 1:
        array = np.concatenate([array, array]) if array.ndim else np.stack([array, array])
    elif choice == 2:
        array = array.reshape(-1)
    else:
        array = np.zeros((0, *array.shape[1:]), array.dtype)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def other_data(model, rng):
    """A parameter is cut off, or longer than it says."""
    tensor = pick(rng, tensors(model))
    if tensor.raw_data:
        cut = int(rng.integers(len(tensor.raw_data) + 1))
        tensor.raw_data = tensor.raw_data[:cut] if rng.random() < 0.7 else tensor.raw_data + b"abc"


def other_values(model, rng):
    """Some values of a parameter are odd: none at all, huge, negative, NaN."""
    tensor = pick(rng, tensors(model))
    array = _array(tensor)
    if array is None or not array.size:
        return
    array = array.copy()
    flat = array.reshape(-1)
    index = int(rng.integers(flat.size)) if rng.random() < 0.7 else slice(None)
    if array.dtype.kind == "f":
        flat[index] = pick(rng, FLOATS)
    elif array.dtype == np.int64:
        flat[index] = pick(rng, NUMBERS)
    else:
        flat[index] = 1
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def another_type(model, rng):
    """A parameter, an input or an output has another type."""
    kind = pick(rng, [*range(24), 99])
    value = pick(rng, [*model.graph.input, *model.graph.output])
    if rng.random() < 0.5 or value is None:
        pick(rng, tensors(model)).data_type = kind
    else:
        value.type.tensor_type.elem_type = kind


def converted(model, rng):
    """A parameter is of another type, its values kept."""
    tensor = pick(rng, tensors(model))
    array = _array(tensor)
    if array is not None and array.dtype.kind in "fiu":
        kind = pick(rng, [np.float16, np.float64, np.int64, np.int32, np.uint8])
        with np.errstate(all="ignore"):
            tensor.CopyFrom(numpy_helper.from_array(array.astype(kind), tensor.name))


def another_declaration(model, rng):
    """An input or output is declared otherwise than it is."""
    value = pick(rng, [*model.graph.input, *model.graph.output])
    if value is None:
        return
    shape = value.type.tensor_type.shape
    choice = int(rng.integers(4))
    if choice == 0 and shape.dim:
        pick(rng, shape.dim).dim_value = pick(rng, NUMBERS)
    elif choice == 1 and shape.dim:
        pick(rng, shape.dim).dim_param = pick(rng, ["", "N", "height", "batch"])
    elif choice == 2:
        value.CopyFrom(helper.make_tensor_value_info(value.name, 1, [1, 2, 3, 4, 5]))
    else:
        value.type.ClearField(str(value.type.WhichOneof("value") or "tensor_type"))


def declared_inside(model, rng):
    """A value inside is declared, rightly or not."""
    name = pick(rng, names(model))
    shape = pick(rng, [[1, 8, 8, 8], [1], [], [1, 2, 3, 4, 5], ["N", 4], None])
    model.graph.value_info.append(helper.make_tensor_value_info(name, pick(rng, [1, 7, 9]), shape))


def interface(model, rng):
    """An input or output is renamed, dropped or there twice."""
    values = pick(rng, [model.graph.input, model.graph.output])
    choice = int(rng.integers(4))
    if not values or choice == 0:
        values.append(helper.make_tensor_value_info(pick(rng, names(model)), 1, ["N", 3, 8, 8]))
    elif choice == 1:
        pick(rng, values).name = pick(rng, [*names(model), ""])
    elif choice == 2:
        del values[int(rng.integers(len(values)))]
    else:
        values.append(pick(rng, values))


def header(model, rng):
    """Operator sets, versions and metadata are others."""
    choice = int(rng.integers(4))
    if choice == 0 and model.opset_import:
        pick(rng, model.opset_import).version = pick(rng, [*range(6, 27), 0, -1, 2**40])
    elif choice == 1:
        model.ir_version = pick(rng, [0, 1, 3, 4, 8, 13, 99])
    elif choice == 2:
        key = pick(rng, ["names", "imgsz", "task", "kpt_shape", "zqc.recipe", "stride", "end2end"])
        value = pick(rng, ["[" * 3000, "{0: 'a'}", "{[]: 1}", "9" * 5000, "nan", "[640, 640]", ""])
        model.metadata_props.add(key=key, value=value)
    else:
        del model.opset_import[:]


def nested(model, rng):
    """Nodes stand in an If, or in many in one another."""
    depth = int(pick(rng, [1, 2, 20, 200]))
    node = pick(rng, model.graph.node)
    if not node.output:
        return
    inner = onnx.NodeProto.FromString(node.SerializeToString())
    for level in range(depth):
        name = inner.output[0]
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        graph = helper.make_graph([inner], f"g{level}", [], [value])
        inner = helper.make_node("If", ["condition"], [name], then_branch=graph, else_branch=graph)
        if level > 5:  # two branches of each would be 2ⁿ nodes
            inner.attribute[0].g.CopyFrom(graph)
            del inner.attribute[1]
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))
    node.CopyFrom(inner)


def outside(model, rng):
    """A parameter stands in another file."""
    tensor = pick(rng, tensors(model))
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    places = ["x.bin", "../x", "/etc/passwd", "", "/dev/zero", "a\0b", ".", "model.onnx"]
    for key, values in (("location", places), ("offset", ["0", "-1", "9" * 30, "x"])):
        tensor.external_data.add(key=key, value=pick(rng, values))


def loops(model, rng):
    """A Loop of very many rounds, or a tensor of very many values, stands at the end."""
    output = pick(rng, model.graph.output)
    if output is None:
        return
    count = numpy_helper.from_array(np.array(pick(rng, [2**40, 2**20, 3, -1, 0])), "many")
    model.graph.initializer.append(count)
    name, result = output.name, "at_last"
    choice = int(rng.integers(3))
    if choice == 0:
        body = helper.make_graph(
            [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Relu", ["a"], ["b"])],
            "body",
            [helper.make_tensor_value_info(n, t, s) for n, t, s in (("i", 7, []), ("go", 9, []))]
            + [helper.make_tensor_value_info("a", 1, None)],
            [
                helper.make_tensor_value_info("on", 9, []),
                helper.make_tensor_value_info("b", 1, None),
            ],
        )
        squared = helper.make_node("Mul", ["many", "many"], ["rounds"])
        node = helper.make_node(
            "Loop", [pick(rng, ["many", "rounds"]), "", name], [result], body=body
        )
        model.graph.node.extend([squared, node])
    else:
        one = numpy_helper.from_array(np.array([1]), "one_axis")
        model.graph.initializer.append(one)
        axes = helper.make_node("Reshape", ["many", "one_axis"], ["sizes"])
        kind = "ConstantOfShape" if choice == 1 else "Expand"
        inputs = ["sizes"] if choice == 1 else [name, "sizes"]
        model.graph.node.extend([axes, helper.make_node(kind, inputs, [result])])
    output.name = result


def divided(model, rng):
    """Integers are divided by nothing."""
    zero = numpy_helper.from_array(np.array([0], pick(rng, [np.int32, np.int64])), "nothing")
    model.graph.initializer.append(zero)
    kind = pick(rng, ["Div", "Mod"])
    model.graph.node.append(helper.make_node(kind, ["nothing", "nothing"], ["undefined"]))
    model.graph.output.append(helper.make_tensor_value_info("undefined", zero.data_type, [1]))


def other_weights(model, rng):
    """The numbers of a parameter are others of the same size, rounded, sparse, or much larger."""
    tensor = pick(rng, tensors(model))
    array = _array(tensor)
    if array is None or array.dtype.kind != "f" or not array.size:
        return
    choice = int(rng.integers(5))
    if choice == 0:
        array = rng.permutation(array.reshape(-1)).reshape(array.shape)
    elif choice == 1:
        array = np.round(array)
    elif choice == 2:
        array = array * (rng.random(array.shape) < 0.3)
    elif choice == 3:
        array = array * pick(rng, [1e-4, 0.1, 10, 1000])
    else:
        array = np.abs(array)
    tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))


LEGAL = {
    "strides": ([1, 1], [2, 2], [1, 2], [3, 1]),
    "dilations": ([1, 1], [2, 2], [1, 2]),
    "pads": ([0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 2, 1], [2, 2, 2, 2]),
    "auto_pad": ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"),
    "ceil_mode": (0, 1),
    "count_include_pad": (0, 1),
    "axis": (0, 1, -1, 2),
    "keepdims": (0, 1),
    "alpha": (0.0, 0.1, 1.0, -0.5),
    "beta": (0.0, 0.5, 2.0),
    "epsilon": (0.0, 1e-5, 0.1),
    "mode": ("nearest", "linear", "cubic", "constant", "reflect", "edge"),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor"),
    "coordinate_transformation_mode": ("asymmetric", "half_pixel", "align_corners"),
    "group": (1, 2, 4),
}
"""Values that these attributes may have, where they fit."""


def legal_attribute(model, rng):
    """An attribute that an operator has gets another value that it may have."""
    version = max((o.version for o in model.opset_import if o.domain == ""), default=13)
    node = pick(rng, (n for n in nodes(model) if n.domain == "" and onnx.defs.has(n.op_type)))
    known = onnx.defs.get_schema(node.op_type, version, "").attributes
    name = pick(rng, known.keys() & LEGAL.keys())
    if name is None:
        return
    kept = [a for a in node.attribute if a.name != name]
    if name == "auto_pad":
        kept = [a for a in kept if a.name != "pads"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, pick(rng, LEGAL[name]))])


UNARY = (
    "Relu",
    "Sigmoid",
    "Tanh",
    "Neg",
    "Abs",
    "Identity",
    "Elu",
    "LeakyRelu",
    "HardSigmoid",
    "Softplus",
    "Exp",
    "Sqrt",
    "Floor",
    "Round",
    "Erf",
    "Selu",
    "Softsign",
    "Ceil",
    "Sin",
)
"""Operators of one input."""


def put_between(model, rng):
    """An operator stands between two nodes, or behind an input."""
    reader = pick(rng, (n for n in model.graph.node if n.input and n.input[0]))
    name = f"between_{len(model.graph.node)}"
    model.graph.node.append(helper.make_node(pick(rng, UNARY), [reader.input[0]], [name]))
    reader.input[0] = name


def other_activation(model, rng):
    """An operator of one input is another one."""
    node = pick(rng, (n for n in nodes(model) if n.op_type in UNARY))
    node.op_type = pick(rng, UNARY)
    del node.attribute[:]


def other_pair(model, rng):
    """An operator of two inputs is another one, or has them the other way round."""
    node = pick(rng, (n for n in nodes(model) if n.op_type in ("Add", "Sub", "Mul", "Div")))
    node.op_type = pick(rng, ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"])
    if rng.random() < 0.3:
        node.input[:] = list(node.input)[::-1]


def output_inside(model, rng):
    """A value inside is an output, too."""
    name = pick(rng, (name for node in model.graph.node for name in node.output))
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def summed(model, rng):
    """Two values are added at the end."""
    found = [name for node in model.graph.node for name in node.output]
    model.graph.node.append(helper.make_node("Add", [pick(rng, found), pick(rng, found)], ["sum"]))
    model.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, None))


def other_opset(model, rng):
    """The operator set is another one, in which most operators mean the same."""
    model.opset_import[0].version = int(rng.integers(9, 24))


SMALL = (
    other_weights,
    other_weights,
    legal_attribute,
    legal_attribute,
    put_between,
    other_activation,
    other_pair,
    output_inside,
    summed,
    other_opset,
    another_order,
)
"""What mostly leaves a model a sound one."""

MUTATIONS = (
    another_input,
    another_output,
    fewer_or_more_inputs,
    another_operator,
    node_gone,
    node_twice,
    another_order,
    another_number,
    another_number,
    another_length,
    another_attribute,
    another_shape,
    another_array,
    other_data,
    other_values,
    other_values,
    another_type,
    converted,
    another_declaration,
    declared_inside,
    interface,
    header,
    nested,
    outside,
    loops,
    divided,
)


def mutated(model, rng, *, small=False):
    """The bytes of a model after one to three mutations, or with some bytes changed.

    Args:
        model: It stays as it is.
        rng: A seeded generator.
        small: Whether it should mostly stay a sound one.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if not small and rng.random() < 0.05:
        return changed_bytes(copy.SerializeToString(), rng)
    small = small or rng.random() < 0.4
    for _ in range(int(rng.integers(1, 4))):
        with suppress(Exception):  # an earlier one has left nothing to change
            pick(rng, SMALL if small else MUTATIONS)(copy, rng)
    return copy.SerializeToString()


def changed_bytes(content, rng):
    """Some bytes are others, gone, or there twice."""
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        if not content:
            break
        place = int(rng.integers(len(content)))
        length = int(rng.integers(1, 9))
        choice = int(rng.integers(4))
        if choice == 0:
            content[place] ^= 1 << int(rng.integers(8))
        elif choice == 1:
            content[place : place + length] = rng.bytes(length)
        elif choice == 2:
            del content[place : place + length * 4]
        else:
            content[place:place] = content[place : place + length * 4]
    return bytes(content)


def _array(tensor):
    """The values of a tensor, where there are any."""
    try:
        array = numpy_helper.to_array(tensor)
    except Exception:  # an earlier mutation has been there
        return None
    return array if array.dtype.kind in "fiub" and array.size < 1e6 else None
