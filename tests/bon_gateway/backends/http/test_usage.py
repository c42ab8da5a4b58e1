"""Token counts of a chat model: plausible ones count."""

from __future__ import annotations

from typing import Any

import pytest

from bon_gateway.backends.http.usage import read_usage
from bon_gateway.judging import JudgeUsage


def test_all_counts_are_read() -> None:
    details = {"cached_tokens": 3}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": details}
    assert read_usage(usage) == JudgeUsage(prompt_tokens=5, cached_tokens=3, completion_tokens=2)


@pytest.mark.parametrize("odd", [None, -1, 2**63, 10**30, True, 1.5, "5", [], {}])
def test_what_is_no_count_is_none(odd: Any) -> None:
    details = {"cached_tokens": odd}
    usage = {"prompt_tokens": odd, "completion_tokens": odd, "prompt_tokens_details": details}
    assert read_usage(usage) == JudgeUsage()
    assert read_usage({"prompt_tokens_details": odd}) == JudgeUsage()
    assert read_usage(odd) == JudgeUsage()
