"""What a policy's upstreams have shown about their configuration, which no request can ask for.

All replicas of a policy serve one model with the same flags, so what one shows holds for all.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bon_gateway.backends.policy.vllm.check import Paid
from bon_gateway.types import Signal

logger = logging.getLogger(__name__)


class UpstreamWays:
    def __init__(self) -> None:
        self.parses_reasoning = False
        """It has a reasoning parser. vLLM parses a stream with other code than a whole answer: text
        without any mark of thinking is reasoning in one and content in the other. If several tokens
        arrive at once, the mark itself may stay in the text. So the gateway asks for whole
        answers."""
        self.ignores_n = False
        """It answers with one choice whatever n is. So the gateway asks for each candidate
        alone."""
        self._refused_top = math.inf
        """It refused to list so many alternatives of each token, or with 0 any log-probability."""
        self._given_top = -1
        """It has listed so many alternatives of each token."""

    def gives(self, signal: Signal) -> bool:
        """Whether it may still give the log-probabilities that the signal reads."""
        return signal.top < self._refused_top

    def saw_answer(self, paid: Paid | None, choices: Sequence[Mapping[str, Any]]) -> None:
        """Look at a whole answer or a chunk. With a parser vLLM counts reasoning tokens, even if
        there are none; an older vLLM shows it by the first reasoning."""
        if self.parses_reasoning:
            return
        if (paid is not None and paid.parses_reasoning) or any(map(_reasons, choices)):
            self.parses_reasoning = True
            logger.info(
                "upstream has a reasoning parser: candidates that may be stopped early are asked"
                " for whole, and the tokens of those that are stopped are not counted"
            )

    def saw_given(self, signal: Signal) -> None:
        """It gave what the signal reads."""
        self._given_top = max(self._given_top, signal.top)

    def saw_refusal(self, signal: Signal) -> None:
        """It refused a request only for what the signal reads. If it has given that before, it
        refused for a reason that passed, and may be asked again."""
        if self.gives(signal) and signal.top > self._given_top:
            self._refused_top = signal.top
            logger.warning(
                "upstream refuses log-probabilities that a strategy reads (top_logprobs %d), so its"
                " candidates have no confidence; allow them with --max-logprobs or lower"
                " top_logprobs of the strategy's signal",
                signal.top,
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
