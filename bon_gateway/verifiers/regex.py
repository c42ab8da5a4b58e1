"""A regular expression matches the answer, or does not."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bon_common.patterns import compile_pattern
from bon_gateway.backends.settings import FindKey
from bon_gateway.sections.base import Expression
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import PASSED, Verdict, failed
from bon_gateway.verifiers.settings import VerifierSettings
from bon_gateway.verifiers.verifier import LocalVerifier


class RegexVerifierSettings(VerifierSettings):
    """A regular expression matches the answer, or does not."""

    type: Literal["regex"]
    pattern: Annotated[Expression, Field(min_length=1)]
    r"""Expression in RE2's syntax (no look-around, no back-references), searched for in the whole
    answer, in time linear in it. Begin it with ``\A`` and end it with ``\z`` to match all of it;
    ``(?i)`` ignores case."""
    matches: bool = True
    """Whether it has to match. With false it must not match, for example for forbidden words."""

    def build(self, keys: FindKey) -> RegexVerifier:
        return RegexVerifier(self)


class RegexVerifier(LocalVerifier):
    def __init__(self, settings: RegexVerifierSettings) -> None:
        super().__init__()
        self._pattern = compile_pattern(settings.pattern)
        self._matches = settings.matches

    def judge(self, request: RewardRequest, answer: Message, text: str) -> Verdict:
        # Half a surrogate pair has no UTF-8, in which the engine reads.
        readable = text.encode("utf-8", "replace").decode()
        found = self._pattern.search(readable) is not None
        if found is self._matches:
            return PASSED
        return failed("matches" if found else "no_match")
