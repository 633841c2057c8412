"""Results as JSON that every reader accepts."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any


def result_text(result: Any, **more: Any) -> str:
    """Write a result as JSON, without the bytes that it may hold; ``more`` goes with it.

    Fields with ``metadata={"json": False}`` are left out, too.
    """
    values = (
        {}
        if result is None
        else {
            field.name: getattr(result, field.name)
            for field in dataclasses.fields(result)
            if field.metadata.get("json", True)
        }
    )
    return json_text({k: v for k, v in values.items() if not isinstance(v, bytes)} | more)


def json_text(value: Any) -> str:
    """Write a value as JSON: paths as text, numbers that are not finite as null."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """What JSON has a form for."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
