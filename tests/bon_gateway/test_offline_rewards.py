"""Rewards of the gateway's settings in a command's own process."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from bon_common.settings.errors import SettingsError
from bon_gateway.offline_rewards import opened_rewards
from bon_gateway.settings.tree import AnyReward
from bon_gateway.testing.script import fake_reward
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import RewardRequest

SECTIONS: TypeAdapter[dict[str, AnyReward]] = TypeAdapter(dict[str, AnyReward])
HOOK = {"type": "hook", "function": "tests.bon_gateway.test_offline_rewards:length"}
HI = RewardRequest([{"role": "user", "content": "hi"}])
ANSWERS = [{"role": "assistant", "content": text} for text in ("a", "bcd")]


def length(messages: Any, completions: Any) -> list[float]:
    return [float(len(one["content"])) for one in completions]


async def test_they_are_what_a_gateway_has() -> None:
    async with FakeUpstream() as upstream:
        calibration = {"slope": 1.0}
        members = [
            {"reward": "length", "mean": 0.0, "std": 1.0},
            {"reward": "server", "mean": 0.0, "std": 1.0},
        ]
        sections = SECTIONS.validate_python(
            {
                "server": {"type": "reward_server", "urls": [upstream.url]},
                "length": HOOK,
                "flat": {**HOOK, "length_calibration": calibration},
                "both": {"type": "ensemble", "members": members},
            }
        )
        async with opened_rewards(sections, "score_by.{}".format, {}) as rewards:
            assert [*rewards] == ["server", "length", "flat", "both"]
            found = {name: (await one.score(HI, ANSWERS)).rewards for name, one in rewards.items()}
    served = tuple(fake_reward(one["content"]) for one in ANSWERS)
    assert found["server"] == pytest.approx(served)
    assert found["length"] == (1.0, 3.0)
    assert found["flat"] == (0.0, 0.0)
    assert found["both"] == pytest.approx(
        [(a + b) / 2 for a, b in zip(served, (1, 3), strict=True)]
    )


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"x": {"type": "hook", "function": "nowhere.at_all:f"}}, "score_by.x.function"),
        (
            {"x": {"type": "reward_server", "urls": ["http://h:1"], "api_key_env": "NO_KEY"}},
            "score_by.x.api_key_env",
        ),
        (
            {
                "x": HOOK,
                "y": {"type": "ensemble", "members": [{"reward": "x"}, {"reward": "z"}]},
            },
            "score_by.y",
        ),
        ({"x": {"type": "reward_server", "urls": ["http://127.0.0.1:1"]}}, "score_by.x"),
    ],
)
async def test_one_that_cannot_be_used_is_named(sections: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        async with opened_rewards(
            SECTIONS.validate_python(sections), "score_by.{}".format, {}, patience_s=0.2
        ):
            pass
    assert caught.value.key == key
