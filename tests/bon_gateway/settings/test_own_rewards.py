"""The rewards of a served model: an ensemble of its own."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bon_gateway.factory import build_gateway
from bon_gateway.gateway import same_backends
from bon_gateway.metrics import Metrics
from bon_gateway.settings.tree import Settings

SERVER = {"type": "reward_server", "urls": ["http://127.0.0.1:9"]}
BEST = {"type": "best_of_n", "n": 2}


def settings(**keys: Any) -> Settings:
    """A served model ``m`` with these keys."""
    served = {"policy": "p", "strategy": BEST, **keys}
    return Settings.model_validate(
        {
            "policies": {"p": {"type": "vllm", "urls": ["http://127.0.0.1:9"]}},
            "rewards": {"a": SERVER, "b": SERVER},
            "models": {"m": served},
        }
    )


OWN: dict[str, Any] = {"rewards": [{"reward": "a", "weight": 2}, {"reward": "b"}]}


def test_it_is_what_an_ensemble_is() -> None:
    own = settings(**OWN, combine="mean_minus_sd", penalty=0.5, on_missing="fail")
    made = own.composed_rewards["models.m.rewards"].model_dump()
    assert made["combine"] == "mean_minus_sd"
    assert (made["penalty"], made["on_missing"], len(made["members"])) == (0.5, "fail", 2)
    gateway = build_gateway(own, Metrics(), {})
    assert gateway.models["m"].reward is gateway.composed_rewards["models.m.rewards"]
    assert gateway.models["m"].history is not None


def test_a_reload_keeps_it_or_makes_it_anew() -> None:
    before, after = settings(**OWN), settings(**OWN, combine="mean_minus_sd")
    running = build_gateway(before, Metrics(), {})
    same = build_gateway(before, Metrics(), {}).with_backends_of(
        running, same_backends(before, before)
    )
    assert same.models["m"].reward is running.models["m"].reward
    changed = build_gateway(after, Metrics(), {}).with_backends_of(
        running, same_backends(before, after)
    )
    assert changed.models["m"].reward is not running.models["m"].reward
    assert changed.rewards["a"] is running.rewards["a"]
    plain = build_gateway(settings(reward="a"), Metrics(), {}).with_backends_of(
        running, same_backends(before, settings(reward="a"))
    )
    assert plain.models["m"].reward is running.rewards["a"]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({**OWN, "reward": "a"}, "rewards: there is a reward already; set one of the two"),
        ({"reward": "a", "combine": "min"}, "combine: has no meaning without rewards"),
        ({"reward": "a", "on_missing": "fail"}, "on_missing: has no meaning without rewards"),
        ({**OWN, "combine": "min"}, "rewards: a weight has no meaning with combine: min"),
        (
            {"rewards": [{"reward": "a"}, {"reward": "c"}]},
            "models.m.rewards.1.reward: no reward with a model of its own is named 'c'",
        ),
        ({}, "strategy best_of_n needs a reward"),
    ],
)
def test_what_is_refused(keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        settings(**keys)


def test_its_name_is_its_own() -> None:
    served = {"policy": "p", "strategy": BEST}
    tree = {
        "policies": {"p": {"type": "vllm", "urls": ["http://127.0.0.1:9"]}},
        "rewards": {"a": SERVER, "models.m.rewards": SERVER},
        "models": {"m": {**served, "rewards": [{"reward": "a"}]}},
    }
    with pytest.raises(ValidationError, match="this is the name of models"):
        Settings.model_validate(tree)


def test_a_judge_that_compares_makes_the_joint_reward_one() -> None:
    """Then a strategy that needs rewards that compare across calls is refused."""
    judge = {"type": "judge", "urls": ["http://127.0.0.1:9"], "method": {"type": "pairwise"}}
    own = {"policy": "p", "rewards": [{"reward": "a"}, {"reward": "judge"}]}
    tree: dict[str, Any] = {
        "policies": {"p": {"type": "vllm", "urls": ["http://127.0.0.1:9"]}},
        "rewards": {"a": SERVER, "judge": judge},
        "models": {"m": {**own, "strategy": BEST}},
    }
    gateway = build_gateway(Settings.model_validate(tree), Metrics(), {})
    reward = gateway.models["m"].reward
    assert reward is not None
    assert reward.compares
    tree["models"]["m"]["strategy"] = {"type": "good_enough", "n": 4, "wave": 2, "threshold": 1.0}
    with pytest.raises(ValidationError, match=r"reward 'models\.m\.rewards' only compares"):
        Settings.model_validate(tree)


@pytest.mark.parametrize(
    ("section", "refused"),
    [
        ({"type": "hook", "function": "json:dumps"}, True),
        ({"type": "verifiers", "verifiers": [{"type": "length", "max": 3}]}, True),
        ({"type": "judge", "urls": ["http://127.0.0.1:9"]}, True),
        ({"type": "vllm_classify", "urls": ["http://127.0.0.1:9"]}, True),
        (SERVER, False),
        ({"type": "in_process", "model": "m"}, False),
    ],
)
def test_a_label_of_a_reward_without_labels_is_refused(
    section: dict[str, Any], refused: bool
) -> None:
    """Otherwise every request would lose the member."""
    member = {"reward": "a", "label": "kind"}
    tree: dict[str, Any] = {
        "policies": {"p": {"type": "vllm", "urls": ["http://127.0.0.1:9"]}},
        "rewards": {"a": section, "both": {"type": "ensemble", "members": [member]}},
        "models": {"m": {"policy": "p", "reward": "both", "strategy": BEST}},
    }
    own = {**tree, "models": {"m": {"policy": "p", "rewards": [member], "strategy": BEST}}}
    if not refused:
        assert Settings.model_validate(tree).labels_of("a") == ("kind",)
        assert Settings.model_validate(own).labels_of("a") == ("kind",)
        return
    told = f"a reward of type {section['type']} has no labels"
    with pytest.raises(ValidationError, match=rf"rewards\.both\.members\.0\.label: {told}"):
        Settings.model_validate(tree)
    del own["rewards"]["both"]
    with pytest.raises(ValidationError, match=rf"models\.m\.rewards\.0\.label: {told}"):
        Settings.model_validate(own)
