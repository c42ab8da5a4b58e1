"""A held-out scorer that is the selecting model is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.ask.selecting import place
from bon_gateway.testing.script import Call, Step, fake_reward
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.support import compare, settings_of


def chooser(off: float = 0.0) -> Any:
    """A gateway in small whose reward is the fake reward server's, or another one."""

    def script(call: Call) -> Step:
        rng = random.Random(call.body["seed"])
        text = f"answer {rng.random()}"
        reward = fake_reward(text) + off * rng.random()
        message = {"role": "assistant", "content": text}
        return Step(raw=json.dumps({
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "bon": {"n": 1, "reward": reward},
        }).encode())  # fmt: skip

    return script


def of(folder: Path, url: str, scorer: dict[str, Any]) -> Any:
    arms = {"base": {"url": url, "model": "fake", "bon": {"n": 1}}}
    quality = {"scorers": {"held-out": scorer}, "primary": "held-out"}
    return settings_of(folder, arms, prompts=12, quality=quality)


async def test_by_its_numbers(tmp_path: Path) -> None:
    async with FakeUpstream(chooser()) as base, FakeUpstream() as reward:
        with pytest.raises(SettingsError) as caught:
            await compare(of(tmp_path, base.url, {"url": reward.url}))
        # Only the first answers were scored to know it.
        assert reward.requests == 8
    assert str(caught.value) == (
        "settings: quality.scorers.held-out: is the model that selects, not a held-out one: it"
        " gives every answer the reward by which the gateway chose it"
    )


async def test_another_model_is_not(tmp_path: Path) -> None:
    async with FakeUpstream(chooser(off=1.0)) as base, FakeUpstream() as reward:
        results = await compare(of(tmp_path, base.url, {"url": reward.url}))
    assert results.arms[0].quality["held-out"] is not None


async def test_the_gateway_itself(tmp_path: Path) -> None:
    async with FakeUpstream(chooser()) as base:
        with pytest.raises(SettingsError, match="is the gateway of arm base"):
            await compare(of(tmp_path, base.url, {"url": f"{base.url}/v1/"}))
        assert base.requests == 0


@pytest.mark.parametrize(("models", "refused"), [(1, True), (2, False)])
async def test_by_its_address(tmp_path: Path, models: int, refused: bool) -> None:
    """As the gateway's /v1/models and /readyz tell. A reward server with several models may score
    by another one than the gateway does."""
    async with FakeUpstream() as reward, FakeUpstream(chooser(off=1.0)) as base:
        reward.models = json.dumps({"data": [{"id": f"m{i}"} for i in range(models)]}).encode()
        name = place(reward.url)

        async def get(request: web.BaseRequest) -> web.Response:
            if request.path == "/v1/models/fake":
                return web.json_response({"id": "fake", "bon": {"reward": "helpful"}})
            return web.json_response({"upstreams": {f"rewards.helpful.{name}": "up"}})

        base._get = get  # type: ignore[method-assign]
        settings = of(tmp_path, base.url, {"url": reward.url, "model": "fake"})
        if refused:
            with pytest.raises(SettingsError, match="arm base chooses by the model at http"):
                await compare(settings)
            assert base.requests == 0
        else:
            await compare(settings)
