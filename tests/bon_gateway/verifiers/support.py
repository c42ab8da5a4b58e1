"""Shared by tests of verifiers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import TypeAdapter

from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import Verdict
from bon_gateway.verifiers.kinds import AnyVerifier
from bon_gateway.verifiers.settings import VerifierSettings
from bon_gateway.verifiers.verifier import Verifier

MESSAGES: list[Message] = [{"role": "user", "content": "?"}]


def settings_of(**section: Any) -> VerifierSettings:
    settings: VerifierSettings = TypeAdapter(AnyVerifier).validate_python(section)
    return settings


def said(text: str | None, **more: Any) -> Message:
    return {"role": "assistant", "content": text, **more}


@asynccontextmanager
async def started(key: str | None = None, **section: Any) -> AsyncIterator[Verifier]:
    verifier = settings_of(**section).build(lambda variable: key if variable else None)
    await verifier.start()
    try:
        yield verifier
    finally:
        await verifier.close()


async def verdict(
    answer: str | Message, /, *, metadata: dict[str, Any] | None = None, **section: Any
) -> Verdict:
    """The verifier's verdict on one answer."""
    message = said(answer) if isinstance(answer, str) else answer
    async with started(**section) as verifier:
        [one] = await verifier.verify(RewardRequest(MESSAGES, metadata=metadata or {}), [message])
    return one
