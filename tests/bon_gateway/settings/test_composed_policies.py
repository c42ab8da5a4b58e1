"""What a mix of policies may be made of, and what its parts have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from bon_common.settings.errors import SettingsError
from bon_gateway.settings.loader import load
from bon_gateway.settings.tree import Settings

URL = "http://127.0.0.1:9"
PLAIN: dict[str, Any] = {
    "small": {"type": "vllm", "urls": [URL]},
    "large": {"type": "vllm", "urls": [URL], "revision": "r2"},
    "thinker": {"type": "vllm", "urls": [URL], "thinking": {}},
    "local": {"type": "transformers", "model": "/nowhere"},
}


def read(folder: Path, *of: dict[str, Any], **keys: Any) -> Settings:
    path = folder / "gateway.yaml"
    mix = {"type": "variants", "of": list(of), **keys}
    tree = {
        "policies": {
            **PLAIN,
            "mix": mix,
            "other": {"type": "variants", "of": [{"policy": "small"}]},
        },
        "models": {"m": {"policy": "mix", "strategy": {"type": "single"}}},
    }
    path.write_text(yaml.safe_dump(tree))
    return load(path, {})


def test_a_mix_is_beside_what_it_is_made_of(tmp_path: Path) -> None:
    settings = read(tmp_path, {"policy": "small"}, {"policy": "large", "share": 3})
    assert [*settings.composed_policies] == ["mix", "other"]
    assert sorted(settings.policy_models) == sorted(PLAIN)
    assert sorted(settings.backends) == sorted(f"policies.{name}" for name in PLAIN)
    assert settings.composed_policies["mix"].asks == ("small", "large")


def test_its_revision_is_its_own_or_that_of_its_parts(tmp_path: Path) -> None:
    both = ({"policy": "small"}, {"policy": "large"})
    assert read(tmp_path, *both, revision="v1").revision_of("mix") == "v1"
    settings = read(tmp_path, *both)
    assert settings.revision_of("mix") == "large r2"
    assert (settings.revision_of("other"), settings.revision_of("small")) == (None, None)
    assert settings.revision_of("large") == "r2"


@pytest.mark.parametrize(
    ("of", "key", "reason"),
    [
        ([], "of", "at least one entry"),
        ([{"policy": "small"}] * 33, "of", "should have at most 32 entries"),
        ([{"policy": "gone"}], "of.0.policy", "no policy with a model of its own is named 'gone'"),
        ([{"policy": "small"}, {"policy": "mix"}], "of.1.policy", "is named 'mix'"),
        ([{"policy": "other"}], "of.0.policy", "is named 'other'"),
        ([{"policy": "small"}] * 2, "", "two variants are called 'small'; give each its own name"),
        (
            [{"policy": "small"}, {"policy": "thinker"}],
            "of.1.policy",
            "'thinker' has another thinking than 'small'",
        ),
        (
            [{"policy": "small"}, {"policy": "local", "model": "lora"}],
            "of.1.model",
            "policy 'local' has only one model",
        ),
        ([{"policy": "small", "share": 0}], "of.0.share", "greater than or equal to 1"),
        ([{"policy": "small", "temperature": 0}], "of.0.temperature", "greater than or equal to"),
        ([{"policy": "small", "temperature": 2.1}], "of.0.temperature", "less than or equal to 2"),
        ([{"policy": "small", "temprature": 1}], "of.0.temprature", "did you mean 'temperature'?"),
        ([{"policy": "small", "system_suffix": ""}], "of.0.system_suffix", "at least 1 character"),
    ],
)
def test_what_cannot_be_a_mix_is_refused(
    tmp_path: Path, of: list[dict[str, Any]], key: str, reason: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, *of)
    assert caught.value.key == f"policies.mix.{key}".rstrip(".")
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("policy", "first", "reason"),
    [
        ("large", "gone", "no policy is named 'gone'"),
        ("large", "thinker", "'thinker' has another thinking than 'large'"),
        ("mix", "thinker", "'thinker' has another thinking than 'mix'"),
    ],
)
def test_a_cascade_asks_a_policy_that_is_there_and_thinks_alike(
    policy: str, first: str, reason: str
) -> None:
    tree = {
        "policies": {**PLAIN, "mix": {"type": "variants", "of": [{"policy": "small"}]}},
        "rewards": {"r": {"type": "reward_server", "urls": [URL]}},
    }

    def served(first: str) -> dict[str, Any]:
        strategy = {"type": "cascade", "first": first, "threshold": 1}
        return {"m": {"policy": policy, "reward": "r", "strategy": strategy}}

    Settings.model_validate({**tree, "models": served("small")})
    Settings.model_validate({**tree, "models": served("mix")})
    with pytest.raises(ValidationError, match=r"models\.m\.strategy\.first") as caught:
        Settings.model_validate({**tree, "models": served(first)})
    assert reason in str(caught.value)
