"""What the processor is called and what it can do, as Linux says it."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")

VNNI = frozenset({"avx_vnni", "avx512_vnni"})
"""Features that multiply 8-bit numbers and add the products up in 32 bits without saturation."""


def name(cpuinfo: Path = _CPUINFO) -> str:
    """The name of the processor; empty where it is unknown, as on other systems than Linux."""
    return next(iter(_values(cpuinfo, "model name")), "")


def features(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """The instruction sets of the processor as Linux names them, such as ``avx2``.

    Only those that all cores have, so that they hold wherever a thread runs. Empty where they are
    unknown, as on other systems than Linux: no feature found there means nothing.
    """
    # x86 has one line "flags" for each core, Arm "Features".
    cores = [set(v.split()) for key in ("flags", "Features") for v in _values(cpuinfo, key)]
    return frozenset(set.intersection(*cores)) if cores else frozenset()


def has_vnni(known: frozenset[str]) -> bool | None:
    """Whether a processor with these features has VNNI; None where they are unknown.

    Without it, ONNX Runtime's 8-bit kernels add pairs of products in 16 bits on x86, where they can
    saturate.
    """
    return bool(known & VNNI) if known else None


def _values(cpuinfo: Path, key: str) -> list[str]:
    """What stands behind each line of a key."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = (line.partition(":") for line in text.splitlines())
    return [value.strip() for found, _, value in lines if found.strip() == key]
