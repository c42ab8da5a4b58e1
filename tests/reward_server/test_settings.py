from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from reward_server.settings import Settings


def test_the_served_name_is_the_models_last_part() -> None:
    assert list(Settings(model="org/reward-8b").served) == ["reward-8b"]
    assert list(Settings(model="/models/rm/").served) == ["rm"]
    assert list(Settings(model="x", served_model_name="y").served) == ["y"]


def several(models: dict[str, Any], **common: Any) -> dict[str, Any]:
    return dict(Settings.model_validate({"models": models, **common}).served)


def test_models_begin_with_the_keys_at_the_top() -> None:
    served = several(
        {"fast": {"model": "a"}, "exact": {"model": "b", "dtype": "float32"}}, dtype="bfloat16"
    )
    assert {name: (one.model, one.dtype) for name, one in served.items()} == {
        "fast": ("a", "bfloat16"),
        "exact": ("b", "float32"),
    }
    assert [one.model_name for one in served.values()] == ["fast", "exact"]


def test_an_ensemble_names_models_of_the_same_server() -> None:
    members = {"a": {"model": "x"}, "b": {"model": "y"}}
    ensemble = {"type": "ensemble", "members": ["a", "b"], "combine": "min"}
    served = several({**members, "both": ensemble}, dtype="bfloat16")
    assert served["both"].members == ("a", "b")
    for wrong, word in (
        ({"members": ["a", "a"]}, "twice"),
        ({"members": ["a"]}, "members"),
        ({"members": ["a", "both"]}, "not a model"),
        ({"normalisation": {"c": {"mean": 0, "std": 1}}}, "not a member"),
        ({"normalisation": {"a": {"mean": 0, "std": 0}}}, "std"),
        ({"dtype": "float32"}, "dtype"),
        ({"combine": "median"}, "combine"),
    ):
        with pytest.raises(ValidationError, match=word):
            several({**members, "both": {**ensemble, **wrong}})


def test_a_model_is_named_in_one_place() -> None:
    with pytest.raises(ValidationError, match="either one model"):
        Settings()
    with pytest.raises(ValidationError, match="either one model"):
        several({"a": {"model": "x"}}, model="y")
    with pytest.raises(ValidationError, match="served_model_name"):
        several({"a": {"model": "x", "served_model_name": "b"}})
    with pytest.raises(ValidationError, match="served_model_name"):
        several({"a": {"model": "x"}}, served_model_name="b")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", ""),
        ("port", 70000),
        ("device", "gpu"),
        ("dtype", "int8"),
        ("max_batch_tokens", 0),
        ("on_overflow", "cut"),
        ("system_prompt", "ignore"),
        ("drain_grace_s", -1),
        ("unknown", 1),
    ],
)
def test_bad_values_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError, match=key):
        Settings.model_validate({"model": "x", key: value})


def test_settings_do_not_change() -> None:
    settings = Settings(model="x")
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
