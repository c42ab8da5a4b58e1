"""Refuses a held-out scorer that is the model by which the gateway chose.

Such a scorer repeats the choice and calls it quality. It is known by its address before anything is
asked: the gateway says which upstreams its reward model has. A copy at another address is known by
its numbers: on the first answers it gives exactly the rewards that chose them. A scorer that is a
function is not refused, because it may be the truth that the reward model was made from; the report
warns of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
from yarl import URL

from bon_common.settings.errors import SettingsError
from bon_gateway.backends.http.client import HttpClient, base_url
from bon_gateway.backends.http.faults import UpstreamError
from bon_gateway.compare.ask.client import open_client
from bon_gateway.compare.ask.scoring import KnownScores, WantedScore
from bon_gateway.compare.settings import CompareSettings, ScorerSettings
from bon_gateway.compare.statistics import same_numbers
from bon_gateway.compare.types import ArmRecord

PROBES = 8
"""Answers whose scores are compared with their rewards before all others are scored."""


def place(url: str) -> str:
    """Host, port and path: the name that the gateway gives to an upstream."""
    parsed = URL(base_url(url))
    return f"{parsed.host_port_subcomponent}{parsed.path.rstrip('/')}"


async def refuse_by_address(
    settings: CompareSettings, urls: Mapping[str, str], environ: Mapping[str, str]
) -> None:
    """``urls`` has each arm's. What does not answer is left to the numbers. Raises
    SettingsError."""
    held_out = {name: one for name, one in settings.quality.scorers.items() if one.url is not None}
    if not held_out:
        return
    asked: set[tuple[str, str]] = set()
    for arm, chosen in settings.arms.items():
        for name, scorer in held_out.items():
            if place(scorer.url or "") == place(urls[arm]) and scorer.model in (None, chosen.model):
                raise _refusal(name, f"{scorer.url} is the gateway of arm {arm}")
        if chosen.bon is None or (urls[arm], chosen.model) in asked:
            continue
        asked.add((urls[arm], chosen.model))
        client = open_client(chosen.api_key_env, settings.load.timeout_s, environ)
        try:
            rewards = await _upstreams(client, base_url(urls[arm]), chosen.model)
        finally:
            await client.close()
        for name, scorer in held_out.items():
            if place(scorer.url or "") in rewards and await _serves_one(scorer, environ):
                raise _refusal(name, f"arm {arm} chooses by the model at {scorer.url}")


def probes(settings: CompareSettings, records: Sequence[ArmRecord]) -> list[WantedScore]:
    """The first answers of different rewards, for every scorer that is a model."""
    chosen = {r.reward: r for r in records if r.ok and r.reward is not None}
    return [
        WantedScore(name, record.key.prompt, record.text)
        for name, scorer in settings.quality.scorers.items()
        if scorer.is_model
        for record in list(chosen.values())[:PROBES]
    ]


def refuse_by_numbers(
    settings: CompareSettings, records: Sequence[ArmRecord], scores: KnownScores
) -> None:
    """Raises SettingsError for a model scorer whose scores are those that the gateway chose by."""
    for name, scorer in settings.quality.scorers.items():
        if scorer.is_model and repeats_selection(name, records, scores):
            raise _refusal(name, "it gives every answer the reward by which the gateway chose it")


def repeats_selection(scorer: str, records: Sequence[ArmRecord], scores: KnownScores) -> bool:
    """Whether every answer that has both a reward and a score has the same number twice."""
    both = [
        (record.reward, score)
        for record in records
        if record.ok and record.reward is not None
        for score in [scores.get(scorer, record.key.prompt, record.text)]
        if score is not None
    ]
    return same_numbers(both)


def _refusal(name: str, reason: str) -> SettingsError:
    return SettingsError(
        "settings",
        f"quality.scorers.{name}",
        f"is the model that selects, not a held-out one: {reason}",
    )


async def _upstreams(client: HttpClient, base: str, model: str) -> set[str]:
    """The upstreams of the served model's reward; empty where the endpoint does not say."""
    try:
        served = orjson.loads(await client.get(URL(f"{base}/v1/models/{model}")))
        health = orjson.loads(await client.get(URL(f"{base}/readyz")))
        head = f"rewards.{served['bon']['reward']}."
        return {name.removeprefix(head) for name in health["upstreams"] if name.startswith(head)}
    except (UpstreamError, ValueError, KeyError, TypeError, AttributeError):
        return set()


async def _serves_one(scorer: ScorerSettings, environ: Mapping[str, str]) -> bool:
    """Whether the reward server has one model only. With several the gateway may use another."""
    client = open_client(scorer.api_key_env, scorer.timeout_s, environ)
    try:
        listed = orjson.loads(await client.get(URL(f"{base_url(scorer.url or '')}/v1/models")))
        return len(listed["data"]) == 1
    except (UpstreamError, ValueError, KeyError, TypeError):
        return False
    finally:
        await client.close()
