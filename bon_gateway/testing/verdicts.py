"""The fake verifier's answers, in the form that ``type: http`` reads."""

from __future__ import annotations

import orjson

from bon_gateway.testing.rewards import text_of
from bon_gateway.testing.script import Call, Step

WRONG = "wrong"
"""An answer that holds this word fails."""


def verdicts(call: Call, _step: Step, _model: str) -> bytes:
    said = [
        {"outcome": "fail", "reason": "is_wrong", "score": 0.0}
        if WRONG in text_of(answer)
        else {"outcome": "pass", "score": 1.0}
        for answer in call.body["answers"]
    ]
    return orjson.dumps({"verdicts": said})
