"""Files that a run is measured on are read as its training file is, with counts and `skip_bad`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification

from tests.trainers.parity.families import BY_NAME, write_models, write_policy
from tests.trainers.preferences.helpers import bot, read_lines, user, write_lines
from tests.trainers.test_template_settings import SYSTEM, base_model
from tests.trainers.test_tools import run

PAIR: dict[str, Any] = {
    "prompt": [user("Sky?")],
    "messages": [user("Sky?"), bot("Blue.")],
    "chosen": [bot("Blue.")],
    "rejected": [bot("Green?")],
}
REFUSED = PAIR | {"prompt": [SYSTEM, user("Sky?")]}
"""By a template like Gemma's."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `policy` and `reward`, with a template like Gemma's."""
    return write_models(BY_NAME["gemma"], tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("command", ["dpo", "grpo", "ppo", "iterate", "reward"])
def test_skip_bad_covers_them(
    models: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_lines(tmp_path / "train.jsonl", PAIR))
    held_out = write_lines(tmp_path / "held-out.jsonl", "{", PAIR, REFUSED)
    model, reward = {"model": str(models / "policy")}, {"reward": str(models / "reward")}
    drawn = {"max_new_tokens": 4}
    settings: dict[str, dict[str, Any]] = {
        "dpo": model | {"train": data, "eval_max_new_tokens": 4},
        "grpo": model | reward | {"train": data, "max_length": 512} | drawn,
        "ppo": model | reward | {"prompts": data, "sampling": drawn},
        "iterate": model | reward | {"prompts": data} | drawn,
        "reward": model | {"train": data},
    }
    name = "eval_pairs" if command == "reward" else "eval_prompts"
    chosen = settings[command] | {name: str(held_out)}
    assert run(command, tmp_path, "--dry-run", **chosen) == 2
    assert f"{held_out}:1: broken JSON" in capsys.readouterr().err
    assert run(command, tmp_path, "--dry-run", **chosen, skip_bad=True) == 0
    shown = capsys.readouterr().out
    assert "bad lines skipped: 2" in shown
    assert f"{held_out}:3: the chat template refuses" in shown


def test_evaluate_counts_what_it_skips_and_does_not_read(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_lines(tmp_path / "pairs.jsonl", "{", PAIR | {"id": 7}, REFUSED)
    settings = {"reward": str(models / "reward"), "pairs": str(pairs)}
    out = {"output": str(tmp_path / "figures.json")}
    assert run("evaluate", tmp_path, **settings, **out) == 2
    assert f"{pairs}:1: broken JSON" in capsys.readouterr().err
    assert run("evaluate", tmp_path, **settings, **out, skip_bad=True) == 0
    shown = capsys.readouterr().out
    page = (tmp_path / "figures.md").read_text()
    for name, count in (
        ("pairs", 1),
        ("bad lines skipped", 2),
        ("records with a field that is not read: id", 1),
        ("records with a field that is not read: messages", 2),
    ):
        assert f"\n{name}: {count}\n" in f"\n{shown}"
        assert f"| {name} | {count} |" in page
    assert f"  {pairs}:3: the chat template refuses" in shown


def test_evaluate_needs_one_record(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_lines(tmp_path / "pairs.jsonl", REFUSED)
    settings = {"reward": str(models / "reward"), "pairs": str(pairs), "skip_bad": True}
    assert run("evaluate", tmp_path, **settings, output=str(tmp_path / "figures.json")) == 2
    assert "no record is left, 1 bad lines were skipped" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["collect", "evaluate"])
def test_those_that_draw_from_a_checkpoint_take_its_template(
    models: Path, tmp_path: Path, command: str
) -> None:
    chatml = BY_NAME["chatml"]
    policy = base_model(tmp_path / "base", chatml, chat_template=None, eos_token="<pad>")
    assert isinstance(chatml.template, str)
    (tmp_path / "chatml.jinja").write_text(chatml.template)
    prompts = write_lines(tmp_path / "prompts.jsonl", {"prompt": [SYSTEM, user("Sky?")]})
    settings: dict[str, Any] = {
        "policy": str(policy),
        "prompts": str(prompts),
        "samples": 2,
        "chat_template": str(tmp_path / "chatml.jinja"),
        "eos_token": "<|im_end|>",
        "system_prompt": "merge",
        "output": str(tmp_path / "out.json"),
    }
    if command == "collect":
        assert run("collect", tmp_path, **settings, max_tokens=4) == 0
        [line] = read_lines(tmp_path / "out.json")
        assert len(line["candidates"]) == 2
        return
    family = write_policy(BY_NAME["chatml"], tmp_path / "reward")
    net = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward", num_labels=1)
    net.save_pretrained(tmp_path / "reward")
    family.save_pretrained(tmp_path / "reward")
    judged = {"reward": str(tmp_path / "reward"), "judge_reward": str(tmp_path / "reward")}
    assert run("evaluate", tmp_path, **settings, **judged, max_new_tokens=4) == 0


@pytest.mark.parametrize("command", ["collect", "evaluate"])
def test_without_a_checkpoint_they_are_refused(
    models: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_lines(tmp_path / "data.jsonl", PAIR))
    settings: dict[str, dict[str, Any]] = {
        "collect": {"prompts": data, "endpoint": {"url": "http://127.0.0.1:9/v1", "model": "m"}},
        "evaluate": {"reward": str(models / "reward"), "pairs": data},
    }
    assert run(command, tmp_path, **settings[command], eos_token="<eos>") == 2
    assert "eos_token: only a policy in this process (policy) takes it" in capsys.readouterr().err
