"""The expected answer, and the comparison with it."""

from __future__ import annotations

from pydantic import Field

from bon_common.selection.extract.bounds import MOST_SEARCHED
from bon_common.selection.extract.numbers import whole_number
from bon_gateway.strategies.extract import CandidateAnswer, ExactSettings, FindAnswer
from bon_gateway.strategies.votes import AnyExtract
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import Verdict, abstained, failed
from bon_gateway.verifiers.settings import VerifierSettings
from bon_gateway.verifiers.template import TOO_LONG, TemplateText, render

REFERENCE = "{{ item.reference }}"
WHOLE = ("exact", "json_field", "tool_calls", "semantic")
"""Ways to find a final answer that find a list or an object whole."""


class ExpectingSettings(VerifierSettings):
    """Settings of verifiers that compare with an expected answer."""

    extract: AnyExtract = Field(default=ExactSettings(type="exact"))
    """Where the final answer stands, as for strategies that vote. It also finds the final answer in
    the expected one, unless that holds nothing else."""
    reference: TemplateText = REFERENCE
    """The expected answer. ``{{ item.reference }}`` is the ``reference`` in the request's
    ``metadata``. A request without it is not verified: an abstention. So is one with a list or an
    object, unless ``extract`` takes a whole answer."""

    @property
    def reads_all(self) -> bool:
        """Whether the whole expected answer counts, so that it may be a list or an object."""
        return self.extract.type in WHOLE


def expected(
    settings: ExpectingSettings,
    find: FindAnswer,
    request: RewardRequest,
    answer: Message,
    text: str,
) -> str:
    """Raises LackingError if the request does not say what it expects: one answer, where only one
    part of a text counts."""
    reference = render(settings.reference, request, answer, text, plain=not settings.reads_all)
    return find(CandidateAnswer(reference)) or reference


def not_found(reason: str, answer: Message, text: str) -> Verdict:
    """The verdict on an answer without a final answer: a fail, but an abstention if the answer is
    longer than what is searched."""
    calls = answer.get("tool_calls") or ()
    length = max(len(text), sum(len(str(call.get("function"))) for call in calls))
    return abstained(TOO_LONG) if length > MOST_SEARCHED else failed(reason)


def same(found: str, wanted: str) -> bool:
    """Whether two final answers are equal: numbers by value, texts without case and white space."""
    return _plain(found) == _plain(wanted)


def _plain(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':  # a text out of JSON
        text = text[1:-1]
    return whole_number(text) or "".join(text.split()).casefold()
