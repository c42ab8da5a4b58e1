"""JSON as files may hold it: no key twice, no NaN, no half characters.

Python's own parser keeps the last of two equal keys and takes NaN, and so loses or writes what no
other reader would.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn


def loads(text: str) -> Any:
    """The value. Raises ValueError (often JSONDecodeError) for text that is no such JSON, and
    RecursionError for a value that is nested too deeply."""
    return _DECODER.decode(text)


def decoder() -> json.JSONDecoder:
    """The same, for texts that hold more than one value."""
    return _DECODER


def unstorable(value: object) -> str | None:
    """Why no file could hold a value of a record again; None if one could."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError:
        return "half a surrogate pair"
    except RecursionError:
        return "nested too deeply"
    except (TypeError, ValueError):
        return "holds what JSON does not, such as NaN, bytes or dates"
    return None


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    """A NaN score orders nothing."""
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)
