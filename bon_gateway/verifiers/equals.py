"""The final answer is the expected one."""

from __future__ import annotations

from typing import Literal

from bon_gateway.backends.settings import FindKey
from bon_gateway.strategies.extract import CandidateAnswer
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import PASSED, Verdict, failed
from bon_gateway.verifiers.expected import ExpectingSettings, expected, not_found, same
from bon_gateway.verifiers.template import LackingError
from bon_gateway.verifiers.verifier import LocalVerifier


class EqualsSettings(ExpectingSettings):
    """The final answer is the expected one. Numbers compare by value; texts compare without case
    and white space."""

    type: Literal["equals"]

    def build(self, keys: FindKey) -> EqualsVerifier:
        return EqualsVerifier(self)


class EqualsVerifier(LocalVerifier):
    def __init__(self, settings: EqualsSettings) -> None:
        super().__init__()
        self._find = settings.extract.build()
        self.reads_calls = settings.extract.type == "tool_calls"
        self._settings = settings

    def judge(self, request: RewardRequest, answer: Message, text: str) -> Verdict:
        try:
            wanted = expected(self._settings, self._find, request, answer, text)
        except LackingError as lacking:
            return lacking.verdict()
        found = self._find(CandidateAnswer(text, answer.get("tool_calls") or ()))
        if found is None:
            return not_found("no_final_answer", answer, text)
        return PASSED if same(found, wanted) else failed("different")
