"""What a policy's upstreams have shown of their ways, which no request can tell.

All replicas of a policy serve one model with the same flags, so what one shows holds for all.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from bon_gateway.backends.policy.vllm.check import Paid

logger = logging.getLogger("bon_gateway.backends.policy.vllm_ways")


class UpstreamWays:
    def __init__(self) -> None:
        self.parses_reasoning = False
        """It has a reasoning parser. vLLM parses a stream by other code than a whole answer: text
        without any mark of thinking is reasoning in one and content in the other, and where
        several tokens arrive at once the mark itself may stay in the text. So whole answers are
        asked for."""
        self.ignores_n = False
        """It answers with one choice however many are asked for. So each is asked for alone."""

    def saw_answer(self, paid: Paid | None, choices: Sequence[Mapping[str, Any]]) -> None:
        """Whole answers and chunks alike. vLLM counts reasoning tokens, be it none, where it has a
        parser; an older one shows it by the first reasoning."""
        if self.parses_reasoning:
            return
        if (paid is not None and paid.parses_reasoning) or any(map(_reasons, choices)):
            self.parses_reasoning = True
            logger.info(
                "upstream has a reasoning parser: candidates that may be stopped early are asked"
                " for whole, and the tokens of those that are stopped are not counted"
            )

    def saw_one_of(self, n: int) -> None:
        """It gave one choice of ``n``."""
        if not self.ignores_n:
            self.ignores_n = True
            logger.warning(
                "upstream ignores n: it gave one choice of %d, so each is asked for alone from"
                " now on; set fan_out: separate for this policy",
                n,
            )


def _reasons(choice: Mapping[str, Any]) -> bool:
    message = choice.get("message") or choice.get("delta")
    return isinstance(message, dict) and bool(
        message.get("reasoning") or message.get("reasoning_content")
    )
