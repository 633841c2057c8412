"""Which names a checkpoint may have."""

import pytest

from zqc.statistics.files.pickle_names import Name


@pytest.mark.parametrize(
    ("module", "name", "harmless"),
    [
        ("collections", "OrderedDict", True),
        ("__builtin__", "set", True),
        ("pathlib", "PosixPath", True),
        ("pathlib._local", "PosixPath", True),
        ("torch._utils", "_rebuild_tensor_v2", True),
        ("ultralytics.nn.tasks", "DetectionModel", True),
        ("__main__", "Net", True),
        ("models.yolo", "Outer.Inner", True),
        ("builtins", "getattr", False),
        ("os.path", "join", False),
        ("pathlib", "Path.unlink", False),
        ("numpy.f2py", "os.system", False),
        ("torch.serialization.os", "system", False),
        ("torch", "nn.Module.__subclasses__", False),
    ],
)
def test_harmless_names(module, name, harmless):
    """Containers of Python, and classes of others unless they lead back to Python's library."""
    assert Name.of(module, name).is_harmless == harmless


def test_names_of_python_2():
    """They are those of Python 3."""
    assert str(Name.of("copy_reg", "_reconstructor")) == "copyreg._reconstructor"
