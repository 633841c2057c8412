"""What Linux says about the processor."""

from zqc.runtime import cpu

X86 = """processor	: 0
model name	: Some Processor @ 2.60GHz: fast
flags		: fpu avx2 avx512_vnni

processor	: 1
model name	: Some Processor @ 2.60GHz: fast
flags		: fpu avx2
"""


def test_name_and_features(tmp_path):
    """The name is that of the first core; a feature counts when all cores have it."""
    path = tmp_path / "cpuinfo"
    path.write_text(X86)
    assert cpu.name(path) == "Some Processor @ 2.60GHz: fast"
    assert cpu.features(path) == {"fpu", "avx2"}


def test_arm_calls_them_features(tmp_path):
    """Arm has no name there, and another key."""
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nFeatures\t: fp asimd i8mm\n")
    assert cpu.name(path) == ""
    assert cpu.features(path) == {"fp", "asimd", "i8mm"}


def test_unknown_elsewhere(tmp_path):
    """A system without the file has no name and no features."""
    assert cpu.name(tmp_path / "none") == ""
    assert cpu.features(tmp_path / "none") == frozenset()


def test_vnni():
    """Either form of it counts; without any feature nothing is known."""
    assert cpu.has_vnni(frozenset({"avx2", "avx_vnni"})) is True
    assert cpu.has_vnni(frozenset({"avx512_vnni"})) is True
    assert cpu.has_vnni(frozenset({"avx2"})) is False
    assert cpu.has_vnni(frozenset()) is None
