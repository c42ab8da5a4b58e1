"""Generation by a running vLLM, over HTTP with token ids in and out.

Before each iteration the policy is written to a folder that the engine sees, and the engine reloads
its weights in place through `/collective_rpc` of its development mode. That takes seconds, where a
restart takes a minute. Training never uses the engine's log-probs: the rollout measures them with
the model that is trained. The engine gives those of a few answers all the same, to check at every
draw that it has the policy's weights.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers.base.errors import RunError
from trainers.base.seeds import mixed_seed
from trainers.endpoint.http import HopelessError, JsonClient, RequestFailedError
from trainers.endpoint.settings import HttpSettings
from trainers.endpoint.work import together
from trainers.ppo.engine_weights import write_weights
from trainers.ppo.mismatch import EngineAnswer, evenly_spread, mean_difference
from trainers.ppo.settings import SamplingSettings, VllmSettings

SEEDS = 2**31
"""vLLM refuses seeds beyond 64 bits; 31 are enough to tell answers apart."""

MISMATCH = "engine mismatch"
"""Name of its curve."""


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
        # One attempt: the run resumes from its checkpoint when the engine is back.
        self._http = HttpSettings(
            url=settings.url,
            concurrency=settings.concurrency,
            timeout_s=settings.timeout_s,
            retries=0,
        )
        self.figures: Mapping[str, float] = {}
        """How far the engine's log-probs were from the policy's in the last draw."""

    def refresh(self) -> None:
        """Write the weights, have them loaded, and drop the cache that the old ones filled.

        Raises RunError if the engine refuses or is not there.
        """
        write_weights(self._policy, self._weights)
        asyncio.run(self._reload())

    def generate(self, prompts: Sequence[Sequence[int]], seed: int) -> list[list[int]]:
        """See `Generator`. Raises RunError if the engine refuses or is not there, or if it samples
        from other weights than the policy has."""
        checked = evenly_spread(len(prompts), self._settings.check_answers)
        bodies = [
            self._body(prompt, mixed_seed(seed, place) % SEEDS, check=place in checked)
            for place, prompt in enumerate(prompts)
        ]
        drawn = asyncio.run(self._draw(bodies))
        self._check(drawn)
        return [answer.ids for answer in drawn]

    def _check(self, drawn: Sequence[EngineAnswer]) -> None:
        found, tolerance = mean_difference(self._policy, drawn), self._settings.tolerance
        if not found <= tolerance:  # also if it is not a number
            raise RunError(
                f"{self._http.url}: the engine's log-probs are {found:.3g} nats a token from the "
                f"policy's, above generation.tolerance {tolerance:g}: it does not sample from the "
                "policy's weights. Start it on the same model, as docs/training.md says (PPO, a "
                "vLLM beside it); raise the tolerance only if it is the engine's coarser rounding"
            )
        self.figures = {MISMATCH: found}

    async def _reload(self) -> None:
        """Load from files, whatever format the engine started with, and drop the prefix cache."""
        files = {"method": "update_config", "args": [{"load_config": {"load_format": "auto"}}]}
        reload = {"method": "reload_weights", "kwargs": {"weights_path": str(self._weights)}}
        async with JsonClient(self._http) as client:
            await self._post(client, "/collective_rpc", files)
            await self._post(client, "/collective_rpc", reload)
            reset = await self._post(client, "/reset_prefix_cache")
        if not reset["success"]:
            raise RunError(
                f"{self._http.url}: its prefix cache is in use; nothing else may send it requests"
            )

    async def _draw(self, bodies: Sequence[Mapping[str, Any]]) -> list[EngineAnswer]:
        async with JsonClient(self._http) as client:
            return await together(self._answer(client, body) for body in bodies)

    async def _answer(self, client: JsonClient, body: Mapping[str, Any]) -> EngineAnswer:
        answer = await self._post(client, "/v1/completions", body)
        choice = answer["choices"][0]
        ids: list[int] | None = choice.get("token_ids")
        if not ids or choice["finish_reason"] not in {"stop", "length"}:
            reason = choice["finish_reason"]
            raise RunError(f"{self._http.url}: no token ids in an answer that ended as {reason}")
        if "logprobs" not in body:
            return EngineAnswer(body["prompt"], ids)
        logps = (choice.get("logprobs") or {}).get("token_logprobs") or []
        if len(logps) != len(ids):
            raise RunError(f"{self._http.url}: {len(logps)} log-probs for {len(ids)} tokens")
        return EngineAnswer(body["prompt"], ids, logps)

    def _body(self, prompt: Sequence[int], seed: int, *, check: bool) -> dict[str, Any]:
        """Samples from the policy's own distribution: top-k, top-p and penalties, which the
        checkpoint's generation settings might add, are switched off."""
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

    async def _post(
        self, client: JsonClient, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The JSON of a 200; RunError for all else."""
        try:
            return await client.post(path, body)
        except RequestFailedError as error:
            raise RunError(f"{self._http.url}: {path}: {error}") from error
        except HopelessError as error:
            if error.status != 404 or path == "/v1/completions":
                raise
            reason = f"no {path}; start vLLM with VLLM_SERVER_DEV_MODE=1"
            raise RunError(f"{self._http.url}: {reason}") from error
