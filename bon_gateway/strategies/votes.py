"""Shared by the strategies that vote: draw candidates, find their final answers, let them vote.

Only candidates that may win vote (``contenders``), and of these only those with a final answer. If
there are none, the order is that of ``best_of_n``. The winner is the best candidate of the winning
answer. A client that asks for several choices gets different answers: the best candidate of each,
by their votes, and only then the other candidates in the order of ``best_of_n``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Discriminator

from bon_common.selection.votes import VotingRule, majority
from bon_gateway.errors import EmbedderError
from bon_gateway.protocols import PolicyBackend, Trace
from bon_gateway.strategies.conversation import answer_text
from bon_gateway.strategies.decide import contenders, rank, rank_by_confidence
from bon_gateway.strategies.embedding import AnswerComparison
from bon_gateway.strategies.extract import (
    EXTRACTS,
    ByMeaning,
    CandidateAnswer,
    ExtractSettings,
    FindAnswer,
    LastNumberSettings,
)
from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.prefill import Prefill
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.types import Candidate, ChatRequest

if TYPE_CHECKING:
    AnyExtract = ExtractSettings
else:
    AnyExtract = Annotated[(Union[EXTRACTS], Discriminator("type"))]  # noqa: UP007 - of a tuple

LONG = 8192
"""Characters above which the event loop does other work before the next answer is read."""


class VoteSettings(DrawSettings):
    """The keys of `best_of_n`, and where the final answer stands."""

    fallback: Literal["first", "confidence", "error"] = "first"
    """What to answer if no candidate has a reward, because the reward model is down or refuses the
    conversation: with ``first`` the most frequent answer wins, with ``confidence`` too, but its
    candidate with the highest mean log-probability is sent, and that decides between equally
    frequent answers; ``error`` is an error. With ``confidence`` the policy is asked for
    log-probabilities in every request, which makes its answers larger. With ``error`` nothing is
    drawn while the reward model is down."""
    extract: AnyExtract = LastNumberSettings()
    """Where the final answer stands. Candidates without one do not vote; if none has one, it is
    ``best_of_n``."""

    @property
    def embeds(self) -> Mapping[str, str]:
        meaning = self.extract.by_meaning
        return {} if meaning is None else {"extract.embedder": meaning.embedder}


@dataclass(frozen=True, slots=True)
class VoteStrategy(PoolStrategy):
    settings: VoteSettings
    rule: VotingRule = field(kw_only=True)
    find: FindAnswer = field(kw_only=True)

    async def decide(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        candidates: Sequence[Candidate],
        trace: Trace,
    ) -> Sequence[int]:
        answers = await self.answers(request, policy, candidates, trace)
        return _led(answers, [candidates[p].reward for p in answers], self.rule, rank(candidates))

    async def decide_by_confidence(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        candidates: Sequence[Candidate],
        trace: Trace,
    ) -> Sequence[int]:
        """The most frequent answer, given by its most confident candidate. Confidence also decides
        between equally frequent answers, and where there are no answers."""
        return await self.voted_by_confidence(request, policy, candidates, trace, majority)

    async def voted_by_confidence(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        candidates: Sequence[Candidate],
        trace: Trace,
        rule: VotingRule,
    ) -> Sequence[int]:
        """The leaders of the answers by ``rule``, to which confidences are what rewards are."""
        answers = await self.answers(request, policy, candidates, trace)
        confidences = [candidates[p].confidence for p in answers]
        return _led(answers, confidences, rule, rank_by_confidence(candidates))

    async def answers(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        candidates: Sequence[Candidate],
        trace: Trace,
    ) -> dict[int, str]:
        """The voters' final answers by their positions, in the order of index: where nothing else
        decides, the first voter does."""
        prefill = Prefill.of(request)
        answers: dict[int, str] = {}
        texts: dict[int, str] = {}
        for position in sorted(contenders(candidates)):
            completion = candidates[position].completion
            message = {} if completion is None else completion.message
            text = answer_text(message, policy.thinking, prefill)
            found = self.find(CandidateAnswer(text, message.get("tool_calls") or ()))
            if found is not None:
                answers[position], texts[position] = found, text
            if len(text) > LONG:
                await asyncio.sleep(0)
        comparison = AnswerComparison(request, trace, self.referee.comparing)
        return await _by_meaning(answers, texts, self.settings.extract.by_meaning, comparison)


async def _by_meaning(
    answers: dict[int, str],
    texts: Mapping[int, str],
    meaning: ByMeaning | None,
    comparison: AnswerComparison,
) -> dict[int, str]:
    """``answers`` with one answer for each class of ``texts``; unchanged if only equality counts,
    or if the embedder is down."""
    if meaning is None or not answers:
        return answers
    try:
        classes = await comparison.classes(meaning.embedder, meaning.threshold, [*texts.values()])
    except EmbedderError:
        return answers
    positions = [*answers]
    stands_for = [positions[leader] for leader in classes]
    return {one: answers[of] for one, of in zip(positions, stands_for, strict=True)}


def _led(
    answers: Mapping[int, str],
    worth: Sequence[float | None],
    rule: VotingRule,
    others: Sequence[int],
) -> Sequence[int]:
    """The leaders of the answers by ``rule``, then the ``others`` in their order."""
    voters = [*answers]
    best = [voters[place] for place in rule([*answers.values()], worth)]
    return (*best, *[position for position in others if position not in best])
