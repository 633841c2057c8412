"""Pickles that mean harm, written by hand: what the classic attacks on checkpoints look like."""

import io
import pickle
import struct
import zipfile

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
MAGIC += pickle.dumps({"little_endian": True}, 2)


def text(value):
    """The operation that puts a string on the stack."""
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def called(module, name, *arguments):
    """A call of a function by GLOBAL and REDUCE."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(map(text, arguments)) + b"tR"


def attacks(mark):
    """All attacks by name: the pickle, and a pattern of what is said.

    Args:
        mark: A file that each of them would write where it can.
    """
    command, code = f"touch {mark}", f"open({str(mark)!r}, 'w').close()"
    head = b"\x80\x02"
    getattr_of = b"cbuiltins\ngetattr\n"
    return {
        "os.system": (head + called("os", "system", command) + b".", "asks for os.system"),
        "posix.system": (head + called("posix", "system", command) + b".", "posix.system"),
        "nt.system": (head + called("nt", "system", command) + b".", "nt.system"),
        "subprocess": (head + called("subprocess", "getoutput", command) + b".", "subprocess"),
        "eval": (head + called("builtins", "eval", code) + b".", "asks for builtins.eval"),
        "exec": (head + called("builtins", "exec", code) + b".", "builtins.exec"),
        "exec of Python 2": (head + called("__builtin__", "exec", code) + b".", "builtins.exec"),
        "__import__": (head + called("builtins", "__import__", "os") + b".", "__import__"),
        "getattr chain": (
            head + getattr_of + called("builtins", "__import__", "os") + text("system") + b"\x86R"
            b"(" + text(command) + b"tR.",
            "builtins.getattr",
        ),
        "dotted name": (
            b"\x80\x04" + text("torch") + text("serialization.os.system") + b"\x93"
            b"(" + text(command) + b"tR.",
            "torch.serialization.os.system",
        ),
        "dotted builtins": (
            b"\x80\x04" + text("collections") + text("OrderedDict.__class__") + b"\x93.",
            "collections.OrderedDict.__class__",
        ),
        "dunder": (
            b"\x80\x04" + text("torch.nn") + text("Module.__init__.__globals__") + b"\x93.",
            "__globals__",
        ),
        "INST": (b"(" + text(command) + b"ios\nsystem\n.", "asks for os.system"),
        "OBJ": (b"(cos\nsystem\n" + text(command) + b"o.", "asks for os.system"),
        "NEWOBJ_EX": (
            b"\x80\x04cbuiltins\ntype\n(" + text("X") + b")}t}\x92.",
            "asks for builtins.type",
        ),
        "partial": (
            head + b"cfunctools\npartial\ncos\nsystem\n" + text(command) + b"\x86R)R.",
            "functools.partial",
        ),
        "operator": (
            head + b"coperator\nattrgetter\n" + text("system") + b"\x85R.",
            "operator.attrgetter",
        ),
        "import_module": (
            head + called("importlib", "import_module", "os") + b".",
            "importlib.import_module",
        ),
        "runpy": (head + called("runpy", "run_path", str(mark)) + b".", "runpy.run_path"),
        "result called": (
            head + b"ctorch.nn\nModule\n)R" + text(command) + b"\x85R.",
            "calls something that is no name",
        ),
        "extension registry": (b"\x80\x02\x82\x01.", "operation EXT1"),
        "extension registry, 4 bytes": (b"\x80\x02\x84\x01\0\0\0.", "operation EXT4"),
        "text persistent id": (b"Pos.system\n.", "operation PERSID"),
        "persistent id": (head + text("os.system") + b"Q.", "outside of its pickle"),
        "storage of another class": (
            head
            + b"("
            + text("storage")
            + b"cos.path\njoin\n"
            + text("0")
            + text("cpu")
            + b"K\x01tQ.",
            "asks for os.path.join",
        ),
        "storage of a negative size": (
            head
            + b"("
            + text("storage")
            + b"ctorch\nFloatStorage\n"
            + text("0")
            + text("cpu")
            + b"J\xff\xff\xff\xfftQ.",
            "no storage",
        ),
        "buffer": (b"\x80\x05\x97.", "operation NEXT_BUFFER"),
        "huge text": (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x.", "is damaged"),
        "huge bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x.", "is damaged"),
        "huge number": (b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b"x.", "is damaged"),
        "stack underflow": (head + b"R.", "is damaged"),
        "memo that is not there": (head + b"j\xff\xff\xff\x7f.", "is damaged"),
        "no end": (head + b"}", "is damaged"),
        "nested without end": (head + b"]" * 100_000 + b"a" * 99_999 + b".", "is damaged"),
    }


def harmless(mark):
    """Tricks that neither call anything nor take memory here: each is read as if it were data."""
    return {
        "huge memo": b"\x80\x02}r\xff\xff\xff\x7f.",
        "holds itself": b"\x80\x02]q\0h\0a.",
        "key holds itself": b"\x80\x02}q\0(h\0th\0s.",
        "__setstate__": b"\x80\x02ctorch.nn\nModule\n)\x81}"
        + text("__setstate__")
        + b"ctorch.hub\nload\nsb.",
        "__reduce__ in a dict": b"\x80\x02}" + text("__reduce__") + text(str(mark)) + b"s.",
        "class of a package": b"\x80\x02ctorch.hub\nload\n(" + text(str(mark)) + b"tR.",
        "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"}.",
    }


def legacy(pickled):
    """A file of PyTorch before 1.6 with this pickle."""
    return MAGIC + pickled + pickle.dumps([], 2)


def archive(pickled, entries=(), **options):
    """A file of PyTorch with this pickle, and further entries by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as file:
        file.writestr("archive/data.pkl", pickled)
        for name, content in dict(entries).items():
            file.writestr(name, content)
    return buffer.getvalue()
