from __future__ import annotations

import pytest

from trainers.base.errors import SettingsError
from trainers.base.settings import load_settings, shipped
from trainers.iterate.settings import IterateSettings


def test_shipped_files_are_valid() -> None:
    assert load_settings(IterateSettings, shipped("demo-iterate.yaml")).endpoint is None
    endpoint = load_settings(IterateSettings, shipped("qwen-iterate.yaml")).endpoint
    assert endpoint is not None
    assert endpoint.for_round(2).model == "policy-2"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dpo.beeta=1"], "dpo: beeta: unknown key; did you mean 'beta'?"),
        (["dpo.loss=dpo"], "dpo: loss: unknown loss dpo; there are"),
        (["dpo.train=x"], "dpo: train: not a setting of a single round"),
        (["samples=1"], "samples: should be greater than or equal to 2"),
        (
            ["endpoint.url=http://localhost:1/v1", "endpoint.model=policy"],
            "endpoint.model: needs {round} when rounds is above 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(IterateSettings, shipped("demo-iterate.yaml"), overrides)
    assert f"--set: {message}" in str(error.value)
