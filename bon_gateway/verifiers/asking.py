"""Base of verifiers that ask a server about one answer at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from yarl import URL

from bon_common.together import together
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import Verdict
from bon_gateway.verifiers.calls import VerifierCalls
from bon_gateway.verifiers.settings import AskingVerifierSettings
from bon_gateway.verifiers.verifier import Verifier


class AskingVerifier(Verifier):
    """Sends one answer in each call, so that each candidate is verified as it arrives. ``key`` goes
    only to the server at ``url``."""

    asks = True

    def __init__(self, settings: AskingVerifierSettings, url: URL, key: str | None) -> None:
        self._calls = VerifierCalls(settings, url, key)

    async def start(self) -> None:
        self._calls.open()

    async def close(self) -> None:
        await self._calls.close()

    async def trial(self) -> Mapping[str, str | None]:
        return await self._calls.trial()

    async def verify(self, request: RewardRequest, answers: Sequence[Message]) -> Sequence[Verdict]:
        if len(answers) == 1:
            return [await self._one(request, answers[0])]
        return await together(self._one(request, answer) for answer in answers)

    @abstractmethod
    async def _one(self, request: RewardRequest, answer: Message) -> Verdict:
        """The verdict on one answer. Each fault is an abstention with its reason."""
