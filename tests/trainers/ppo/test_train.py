"""The command: what it writes, that it learns, and that a resumed run equals one that went on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from bon_gateway.demo_models import reward_path
from tests.trainers.runtime.helpers import full_disk
from tests.trainers.scoring_service import Start, reward_server
from trainers.base.context import RunContext
from trainers.base.data import Message
from trainers.base.errors import RunError
from trainers.cli import main
from trainers.ppo.models import build
from trainers.ppo.settings import PpoSettings
from trainers.ppo.train import iterate, run

Write = Callable[..., Path]
GOLD = {"function": "trainers.demo.gold:gold", "field": "total"}


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_run_writes_a_policy_that_loads_with_its_curves_and_its_card(
    write: Write, tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(eval_prompts=str(tiny / "prompts.jsonl"), gold=GOLD, checkpoint_every=1)
    assert main(["ppo", "--config", str(path)]) == 0
    out = tmp_path / "out"
    policy = AutoModelForCausalLM.from_pretrained(out)
    start = load_file(tiny / "policy" / "model.safetensors")
    assert not torch.equal(policy.lm_head.weight, start["lm_head.weight"])
    assert AutoTokenizer.from_pretrained(out).chat_template
    first, second = entries(out)
    assert (first["iteration"], second["iteration"]) == (1, 2)
    assert first.keys() == second.keys()
    for name in (
        *("reward", "gold", "kl to reference", "kl to old policy", "entropy", "clip fraction"),
        *("policy loss", "value loss", "explained variance", "length", "eos rate", "distinct-1"),
        *("distinct-2", "ratio, least", "ratio, most", "learning rate", "beta", "alarms"),
    ):
        assert name in first
    assert (first["kl to reference"], first["kl to old policy"]) == (
        pytest.approx(0, abs=1e-5),
        pytest.approx(first["kl to old policy"], abs=0),
    )
    assert list((out / "tensorboard").iterdir())
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["checkpoint-2"]
    card = (out / "README.md").read_text()
    assert "- kl.beta: 0.05" in card
    assert "| gold, after |" in card
    assert str(tmp_path) not in card.replace(str(path), "")
    printed = capsys.readouterr().out
    assert "iteration 2/2: reward" in printed
    assert "gold, before:" in printed


class Killed(Exception):
    """Ends a run as SIGKILL would: nothing catches it."""


def kill_at(text: str) -> Callable[[str], None]:
    def show(line: str) -> None:
        if line.startswith(text):
            raise Killed

    return show


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lora": {"r": 4}, "kl": {"beta": 0.1, "adaptive": {"target": 0.01, "horizon": 10}}},
    ],
    ids=["full", "lora"],
)
def test_5_iterations_and_5_resumed_equal_10(
    values: dict[str, Any], tmp_path: Path, changes: dict[str, Any]
) -> None:
    values = values | changes | {"iterations": 10, "checkpoint_every": 5}
    whole = PpoSettings.model_validate(values | {"output": str(tmp_path / "whole")})
    run(whole, RunContext("test", show=lambda _: None))
    halves = PpoSettings.model_validate(values | {"output": str(tmp_path / "halves")})
    with pytest.raises(Killed):
        run(halves, RunContext("test", show=kill_at("iteration 7/10")))
    assert len(entries(tmp_path / "halves")) == 7
    run(halves, RunContext("test", resume=True, show=lambda _: None))
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    curves = [
        [{k: v for k, v in e.items() if "seconds" not in k} for e in entries(tmp_path / name)]
        for name in ("whole", "halves")
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 10


def test_what_would_change_the_course_cannot_be_resumed(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ppo", "--config", str(write())]) == 0
    resumed = ["ppo", "--config", str(write(seed=3)), "--resume"]
    assert main(resumed) == 2
    assert "seed: 3 cannot resume" in capsys.readouterr().err
    assert main(["ppo", "--config", str(write())]) == 2
    assert "--resume goes on from it" in capsys.readouterr().err
    generation = {"type": "in_process", "batch_size": 3}
    for key, value in (("reward", str(reward_path())), ("generation", generation)):
        assert main(["ppo", "--config", str(write(**{key: value})), "--resume"]) == 2
        error = capsys.readouterr().err
        assert f"bon-train: {key}: " in error
        assert "cannot resume" in error


def test_a_full_disk_costs_the_checkpoint_but_not_the_one_before(values: dict[str, Any]) -> None:
    values |= {"iterations": 4, "checkpoint_every": 2}
    settings = PpoSettings.model_validate(values)
    run(settings, RunContext("test", show=lambda _: None))
    whole = weights(settings.output)
    folder = settings.output / "checkpoints"
    shutil.rmtree(settings.output)
    with pytest.raises(Killed):
        run(settings, RunContext("test", show=kill_at("iteration 3/4")))
    with full_disk(100_000), pytest.raises(RunError) as error:
        run(settings, RunContext("test", resume=True, show=lambda _: None))
    message = str(error.value)
    assert "checkpoint-4 (the last good one is " in message
    assert "checkpoint-2) could not be written: " in message
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-2"]
    run(settings, RunContext("test", resume=True, show=lambda _: None))
    found = weights(settings.output)
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_a_new_run_keeps_no_curves_of_another(values: dict[str, Any]) -> None:
    settings = PpoSettings.model_validate(values)
    settings.output.mkdir()
    (settings.output / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"iteration": 9}\n')
    (settings.output / "tensorboard").mkdir()
    (settings.output / "tensorboard" / "old").write_text("")
    run(settings, RunContext("test", overwrite=True, show=lambda _: None))
    assert [entry["iteration"] for entry in entries(settings.output)] == [1, 2]
    assert not (settings.output / "tensorboard" / "old").exists()


def test_a_constant_rate_lets_a_finished_run_go_further(values: dict[str, Any]) -> None:
    values["update"]["decay"] = "constant"
    settings = PpoSettings.model_validate(values)
    run(settings, RunContext("test", show=lambda _: None))
    further = settings.model_copy(update={"iterations": 3})
    run(further, RunContext("test", resume=True, show=lambda _: None))
    assert [entry["iteration"] for entry in entries(settings.output)] == [1, 2, 3]


class SharesWords:
    """A reward function in place of the reward model: how much of an answer is certain words."""

    def __init__(self, tokenizer: Any, words: range) -> None:
        self._tokenizer = tokenizer
        self._words = words

    def score_answers(self, prompts: object, answers: list[Message]) -> list[float]:
        texts = [answer["content"] for answer in answers]
        ids = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [sum(token in self._words for token in row) / max(len(row), 1) for row in ids]


def learning(values: dict[str, Any]) -> PpoSettings:
    values |= {"prompts_per_iteration": 64, "iterations": 12, "value": {"start": "policy"}}
    values |= {"shape": {"missing_eos_penalty": 0}}
    values["update"] |= {"minibatch_size": 32, "micro_batch_size": 32, "learning_rate": 1e-2}
    return PpoSettings.model_validate(values)


def curves(settings: PpoSettings, beta: float) -> list[dict[str, float]]:
    """Train towards a sixth of the vocabulary."""
    parts = build(settings)
    parts.collector.scorer = SharesWords(parts.tokenizer, range(300, 400))  # type: ignore[assignment]
    return [iterate(parts, settings, i, beta)[0] for i in range(settings.iterations)]


def test_it_learns_to_say_what_is_rewarded(values: dict[str, Any]) -> None:
    reward = [figures["reward"] for figures in curves(learning(values), beta=0.01)]
    assert reward[0] < 0.1
    assert reward[-1] > 0.25


def test_a_large_beta_holds_the_policy_near_the_reference(values: dict[str, Any]) -> None:
    free, held = (curves(learning(values), beta)[-1] for beta in (0.0, 1.0))
    assert held["kl to reference"] < free["kl to reference"] / 4
    assert held["reward"] < free["reward"]


def test_an_alarm_is_printed_logged_and_can_end_the_run(values: dict[str, Any]) -> None:
    values |= {"iterations": 9}
    values["alarms"] = {"window": 1, "length_growth": 1e-3, "stop": True}
    values["update"] |= {"learning_rate": 1e-2}
    settings = PpoSettings.model_validate(values)
    lines: list[str] = []
    run(settings, RunContext("test", show=lines.append))
    logged = entries(settings.output)
    assert "length" in logged[-1]["alarms"]
    assert [entry["alarms"] for entry in logged[:-1]] == [[]] * (len(logged) - 1)
    assert 2 <= len(logged) < 9
    assert any(line.startswith("alarm, length: reward rose from") for line in lines)
    assert (settings.output / "model.safetensors").exists()


def test_dry_run_shows_one_answer_token_by_token_and_writes_nothing(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ppo", "--config", str(write()), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "prompts: 4, dropped as repeated: 0, as too long: 0"
    assert lines[1] == "prompt: <|user|>Name two snacks for my bear<eos><|assistant|>"
    header = lines.index("token | log-prob | reference | value | return | advantage")
    tokens = lines[header + 1 :]
    assert 1 <= len(tokens) <= 6
    assert all(line.count(" | ") == 5 for line in tokens)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "nowhere"}, "nowhere: no such model folder"),
        ({"prompts": "nothing.jsonl"}, "nothing.jsonl: No such file or directory"),
        ({"kl": {"betaa": 1}}, "kl.betaa: unknown key; did you mean"),
        ({"device": "abacus"}, "device abacus: not on this machine"),
        ({"max_prompt_tokens": 2}, "every prompt exceeds max_prompt_tokens 2"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    write: Write, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    assert main(["ppo", "--config", str(write(**changes))]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("bon-train: ")
    assert message in error


def test_a_reward_behind_a_server_trains_as_its_folder_does(
    values: dict[str, Any], tmp_path: Path, start_app: Start
) -> None:
    values |= {"value": {"start": "policy"}}
    url = start_app(reward_server(Path(values["reward"])))
    there = {"reward": {"type": "reward_server", "url": url}, "output": str(tmp_path / "there")}
    for changes in ({}, there):
        settings = PpoSettings.model_validate(values | changes)
        run(settings, RunContext("test", show=lambda _: None))
    expected, found = entries(tmp_path / "out"), entries(tmp_path / "there")
    rewards = [one["reward"] for one in expected]
    assert [one["reward"] for one in found] == pytest.approx(rewards, abs=1e-4)
    before, after = weights(tmp_path / "out"), weights(tmp_path / "there")
    assert max(float((before[name] - after[name]).abs().max()) for name in before) < 1e-4


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ({"type": "reward_server", "url": "http://h:1"}, "value.start: a reward behind a server"),
        ({"type": "reward_server"}, "reward.url: is required"),
        ({"url": "http://h:1"}, "reward.type: is required; known: reward_server"),
        ({"type": "judge", "url": "http://h:1"}, "reward.type: unknown type 'judge'"),
        (
            {"type": "reward_server", "url": "http://h:1", "modle": "m"},
            "reward.modle: unknown key; did you mean 'model'?",
        ),
        (3, "reward: should be a mapping"),
    ],
)
def test_a_mistake_in_the_reward_is_named(
    write: Write, capsys: pytest.CaptureFixture[str], reward: Any, said: str
) -> None:
    assert main(["ppo", "--config", str(write(reward=reward))]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
