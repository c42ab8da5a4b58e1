"""The tool calls of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bon_common.selection.extract.bounds import MOST_SEARCHED
from bon_common.selection.extract.json_field import canonical


def called(calls: Sequence[Mapping[str, Any]]) -> str | None:
    """The names and arguments of all calls, as JSON with sorted keys.

    The order of the calls does not count, because calls of one message are made side by side; ids
    do not either. Without a call there is no answer, nor with arguments that are not JSON or have
    more than ``MOST_SEARCHED`` characters. No arguments are an empty object.
    """
    functions = [call.get("function") or {} for call in calls]
    texts = [function.get("arguments") or "{}" for function in functions]
    if sum(map(len, texts)) > MOST_SEARCHED:
        return None
    try:
        made = [
            canonical([function.get("name"), orjson.loads(text)])
            for function, text in zip(functions, texts, strict=True)
        ]
    except orjson.JSONDecodeError:
        return None
    written = [call for call in made if call is not None]
    return "\n".join(sorted(written)) if made and len(written) == len(made) else None
