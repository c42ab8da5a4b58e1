"""Generation by a running vLLM, over HTTP with token ids in and out.

Before each iteration the policy is written to a folder that the engine sees, and the engine reloads
its weights in place through `/collective_rpc` of its development mode: seconds, where a restart
takes a minute. The log-probs that training uses are never the engine's: the rollout measures them
with the model that is trained. Those of a few answers are asked of the engine all the same, to see
at every draw that it has the policy's weights.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from trainers.errors import RunError
from trainers.ppo.engine_weights import write_weights
from trainers.ppo.mismatch import Judged, mean_difference, spread
from trainers.ppo.seeds import mixed_seed
from trainers.ppo.settings import SamplingSettings, VllmSettings

SEEDS = 2**31
"""vLLM refuses seeds beyond 64 bits; 31 are enough to tell answers apart."""

MISMATCH = "engine mismatch"
"""Name of its curve."""


@dataclass(frozen=True)
class Drawn:
    """An answer as the engine gave it."""

    ids: list[int]
    logps: list[float] | None
    """Of each token at temperature 1; None if they were not asked for."""


class VllmGenerator:
    """One request an answer, so that each has a seed of its own."""

    def __init__(
        self, settings: VllmSettings, sampling: SamplingSettings, policy: Any, weights: Path
    ) -> None:
        """`weights` is where the policy is written for the engine."""
        self._settings = settings
        self._sampling = sampling
        self._policy = policy
        self._weights = weights.resolve()
        self._url = settings.url.rstrip("/")
        self._figures: dict[str, float] = {}

    @property
    def figures(self) -> Mapping[str, float]:
        """How far the engine's log-probs were from the policy's in the last draw."""
        return self._figures

    def refresh(self) -> None:
        """Write the weights, have them loaded, and drop the cache that the old ones filled.

        Raises RunError if the engine refuses or is not there.
        """
        write_weights(self._policy, self._weights)
        asyncio.run(self._reload())

    def generate(self, prompts: Sequence[Sequence[int]], seed: int) -> list[list[int]]:
        """See `Generator`. Raises RunError if the engine refuses or is not there, or if it samples
        from other weights than the policy has."""
        checked = spread(len(prompts), self._settings.check_answers)
        bodies = [
            self._body(prompt, mixed_seed(seed, place) % SEEDS, check=place in checked)
            for place, prompt in enumerate(prompts)
        ]
        drawn = asyncio.run(self._draw(bodies))
        self._check(prompts, drawn)
        return [answer.ids for answer in drawn]

    def _check(self, prompts: Sequence[Sequence[int]], drawn: Sequence[Drawn]) -> None:
        judged = [
            Judged(prompt, answer.ids, answer.logps)
            for prompt, answer in zip(prompts, drawn, strict=True)
            if answer.logps is not None
        ]
        found, tolerance = mean_difference(self._policy, judged), self._settings.tolerance
        if not found <= tolerance:  # also if it is not a number
            raise RunError(
                f"{self._url}: the engine's log-probs are {found:.3g} nats a token from the "
                f"policy's, above generation.tolerance {tolerance:g}: it does not sample from the "
                "policy's weights. Start it on the same model, as docs/training.md says (PPO, a "
                "vLLM beside it); raise the tolerance only if it is the engine's coarser rounding"
            )
        self._figures = {MISMATCH: found}

    async def _reload(self) -> None:
        """From files, whatever format the engine started with; then without the cache of before."""
        files = {"method": "update_config", "args": [{"load_config": {"load_format": "auto"}}]}
        reload = {"method": "reload_weights", "kwargs": {"weights_path": str(self._weights)}}
        async with self._session() as session:
            await self._post(session, "/collective_rpc", files)
            await self._post(session, "/collective_rpc", reload)
            reset = await self._post(session, "/reset_prefix_cache", None)
        if not reset["success"]:
            raise RunError(f"{self._url}: its prefix cache is in use; nobody else may ask it")

    async def _draw(self, bodies: Sequence[Mapping[str, Any]]) -> list[Drawn]:
        async with self._session() as session:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._answer(session, body)) for body in bodies]
            except ExceptionGroup as errors:
                # They end alike when the engine is gone; the first says why.
                raise errors.exceptions[0] from errors
        return [task.result() for task in tasks]

    async def _answer(self, session: aiohttp.ClientSession, body: Mapping[str, Any]) -> Drawn:
        answer = await self._post(session, "/v1/completions", body)
        choice = answer["choices"][0]
        ids: list[int] | None = choice.get("token_ids")
        if not ids or choice["finish_reason"] not in {"stop", "length"}:
            reason = choice["finish_reason"]
            raise RunError(f"{self._url}: no token ids in an answer that ended as {reason}")
        if "logprobs" not in body:
            return Drawn(ids, None)
        logps = (choice.get("logprobs") or {}).get("token_logprobs") or []
        if len(logps) != len(ids):
            raise RunError(f"{self._url}: {len(logps)} log-probs for {len(ids)} tokens")
        return Drawn(ids, logps)

    def _body(self, prompt: Sequence[int], seed: int, *, check: bool) -> dict[str, Any]:
        """Sampling from the policy's own distribution: what the checkpoint's generation settings
        would add (top-k, top-p, penalties) is switched off."""
        logprobs = {"logprobs": 0} if check else {}  # of the drawn token, no others
        return {
            "model": self._settings.served_model,
            "prompt": list(prompt),
            "max_tokens": self._sampling.max_new_tokens,
            "temperature": self._sampling.temperature,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": seed,
            "return_token_ids": True,
            **logprobs,
        }

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._settings.concurrency),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=self._settings.timeout_s),
        )

    async def _post(
        self, session: aiohttp.ClientSession, path: str, body: Mapping[str, Any] | None
    ) -> Any:
        """The JSON of a 200, None for an empty one; RunError for all else."""
        try:
            async with session.post(f"{self._url}{path}", json=body) as response:
                text = await response.text()
                if response.status == 200:
                    return await response.json() if text else None
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise RunError(f"{self._url}: {path}: {reason}") from error
        if response.status == 404 and path != "/v1/completions":
            raise RunError(f"{self._url}: no {path}; start vLLM with VLLM_SERVER_DEV_MODE=1")
        reason = " ".join(text.split())[:300]
        raise RunError(f"{self._url}: {path}: status {response.status}: {reason}")
