"""What other packages offer is used where the settings file names it, and nowhere else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.settings.loader import load

MODULE = """
from typing import Literal
from bon_gateway.backends.reward.local import LocalReward
from bon_gateway.backends.settings import RewardSettings
from bon_gateway.strategies.best_of_n import BestOfN
from bon_gateway.strategies.settings import DrawSettings

class Mine(DrawSettings):
    type: Literal["mine"]
    extra: int = 3
    def build(self, referee): return BestOfN(self, referee)

class Ours(RewardSettings):
    type: Literal["ours"]
    def build(self, key): return LocalReward("ours", "refuse")

class Unfinished(DrawSettings):
    type: Literal["unfinished"]

LIMIT = 3
"""
POINTS = """
[bon_gateway.strategies]
mine = plugin_of_mine:Mine
unfinished = plugin_of_mine:Unfinished
misnamed = plugin_of_mine:Mine
gone = plugin_of_mine:Gone
nowhere = no_such_module:Mine
a_number = plugin_of_mine:LIMIT
a_reward = plugin_of_mine:Ours
[bon_gateway.rewards]
ours = plugin_of_mine:Ours
"""
FILE = """
policies: {{base: {{type: vllm, urls: ["http://127.0.0.1:9"]}}}}
rewards: {{judge: {reward}}}
models: {{assistant: {{policy: base, reward: judge, strategy: {strategy}}}}}
"""
BEST = "{type: best_of_n}"
CLASSIFY = '{type: vllm_classify, urls: ["http://127.0.0.1:9"]}'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "plugin_of_mine.py").write_text(MODULE)
    offer(tmp_path, "of-mine", POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "plugin_of_mine", raising=False)
    return tmp_path


def offer(folder: Path, package: str, points: str) -> None:
    info = folder / f"{package.replace('-', '_')}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(points)


def config(folder: Path, strategy: str = BEST, reward: str = CLASSIFY) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(FILE.format(strategy=strategy, reward=reward))
    return path


def failure(path: Path | None, environ: dict[str, str] | None = None) -> tuple[str, str, str]:
    with pytest.raises(SettingsError) as caught:
        load(path, environ or {})
    error = caught.value
    return error.source, error.key, error.reason


def test_nothing_is_imported_that_is_not_named(folder: Path) -> None:
    load(config(folder), {})
    assert "plugin_of_mine" not in sys.modules


def test_a_named_one_takes_its_place_in_the_tree(folder: Path) -> None:
    path = config(folder, "{type: mine, n: 5}", "{type: ours}")
    settings = load(path, {"BON_GATEWAY__MODELS__ASSISTANT__STRATEGY__EXTRA": "4"})
    strategy = settings.models["assistant"].strategy
    assert (strategy.type, strategy.drawn) == ("mine", 5)
    written = settings.model_dump(mode="json")
    assert written["models"]["assistant"]["strategy"]["extra"] == 4
    assert written["rewards"]["judge"] == {
        "type": "ours",
        "length_calibration": None,
        "cache": None,
    }
    assert load(path, {}).rewards == settings.rewards


def test_what_is_wrong_with_its_keys_is_told_as_usual(folder: Path) -> None:
    path = config(folder, "{type: mine, extr: 5}")
    key = "models.assistant.strategy.extr"
    assert failure(path) == (str(path), key, "unknown key; did you mean 'extra'?")
    variable = "BON_GATEWAY__MODELS__ASSISTANT__STRATEGY__N"
    wrong = failure(config(folder, "{type: mine}"), {variable: "many"})
    assert wrong[:2] == (f"environment {variable}", "models.assistant.strategy.n")


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        ("gone", "the plugin plugin_of_mine:Gone cannot be loaded: "),
        ("nowhere", "the plugin no_such_module:Mine cannot be loaded: No module named"),
        (
            "a_number",
            "the plugin plugin_of_mine:LIMIT is not a subclass of bon_gateway.strategies.",
        ),
        ("a_reward", "the plugin plugin_of_mine:Ours is not a subclass of bon_gateway.strategies."),
        ("misnamed", "the plugin plugin_of_mine:Mine does not have type: Literal['misnamed']"),
        ("unfinished", "the plugin plugin_of_mine:Unfinished has no build"),
        ("unheard_of", "unknown type 'unheard_of'; known: best_of_n, first_k, adaptive, "),
        ("ours", "unknown type 'ours'; known: "),
    ],
)
def test_what_cannot_be_used_is_told(folder: Path, strategy: str, reason: str) -> None:
    source, key, told = failure(path := config(folder, f"{{type: {strategy}}}"))
    assert (source, key) == (str(path), "models.assistant.strategy.type")
    assert told.startswith(reason)


def test_two_of_one_name_are_told(folder: Path) -> None:
    offer(folder, "another", "[bon_gateway.strategies]\nmine = elsewhere:Mine\n")
    _, _, told = failure(config(folder, "{type: mine}"))
    assert told == "several packages offer 'mine': another, of-mine"


@pytest.mark.parametrize(
    ("section", "value", "key"),
    [
        ("MODELS__ASSISTANT__STRATEGY__TYPE", "mine", "models.assistant.strategy.type"),
        ("MODELS__ASSISTANT__STRATEGY", "{type: mine}", "models.assistant.strategy.type"),
        ("REWARDS__JUDGE", "{type: ours}", "rewards.judge.type"),
        ("REWARDS__JUDGE", '{type: hook, function: "builtins:max"}', "rewards.judge.function"),
        (
            "MODELS__ASSISTANT__STRATEGY",
            '{type: hook, function: "builtins:max"}',
            "models.assistant.strategy.function",
        ),
        (
            "MODELS__ASSISTANT__STRATEGY",
            '{type: mbr, similarity: {type: hook, function: "builtins:max"}}',
            "models.assistant.strategy.similarity.function",
        ),
    ],
)
def test_only_the_file_may_name_code(folder: Path, section: str, value: str, key: str) -> None:
    variable = f"BON_GATEWAY__{section}"
    told = failure(config(folder), {variable: value})
    assert told == (f"environment {variable}", key, "only the settings file may name code to run")
    assert "plugin_of_mine" not in sys.modules


def test_a_function_of_the_file_may_not_be_changed_from_outside(folder: Path) -> None:
    path = config(folder, '{type: hook, function: "builtins:max", n: 4}')
    name = "BON_GATEWAY__MODELS__ASSISTANT__STRATEGY__"
    assert load(path, {f"{name}N": "3"}).models["assistant"].strategy.drawn == 3
    told = failure(path, {f"{name}FUNCTION": "builtins:min"})
    assert told[2] == "only the settings file may name code to run"
