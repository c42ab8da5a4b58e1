"""OpenAI's ``string_check``: a text is equal to another one, or holds it."""

from __future__ import annotations

from typing import Literal

from bon_gateway.backends.settings import FindKey
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import Verdict, VerdictOutcome
from bon_gateway.verifiers.settings import VerifierSettings
from bon_gateway.verifiers.template import LackingError, TemplateText, reads_calls, render
from bon_gateway.verifiers.verifier import LocalVerifier


class StringCheckSettings(VerifierSettings):
    """OpenAI's grader: a text is equal to another one, or holds it. The score is 1 or 0."""

    type: Literal["string_check"]
    input: TemplateText
    """The text to check, such as ``{{ sample.output_text }}``."""
    reference: TemplateText
    """The text to compare it with, such as ``{{ item.reference }}``."""
    operation: Literal["eq", "ne", "like", "ilike"]
    """``eq``: they are equal; ``ne``: they are not; ``like``: the input holds the reference;
    ``ilike``: the same in any case."""

    def build(self, keys: FindKey) -> StringCheck:
        return StringCheck(self)


class StringCheck(LocalVerifier):
    def __init__(self, settings: StringCheckSettings) -> None:
        super().__init__()
        self._settings = settings
        self.reads_calls = reads_calls(settings.input, settings.reference)

    def judge(self, request: RewardRequest, answer: Message, text: str) -> Verdict:
        settings = self._settings
        try:
            given = render(settings.input, request, answer, text)
            wanted = render(settings.reference, request, answer, text)
        except LackingError as lacking:
            return lacking.verdict()
        match settings.operation:
            case "eq":
                right = given == wanted
            case "ne":
                right = given != wanted
            case "like":
                right = wanted in given
            case "ilike":
                right = wanted.lower() in given.lower()
        if right:
            return Verdict(VerdictOutcome.PASS, score=1.0)
        return Verdict(VerdictOutcome.FAIL, f"not_{settings.operation}", 0.0)
