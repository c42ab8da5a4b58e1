"""Each command on each kind of bad input: one line with file, line and reason; nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bon_gateway.demo_models import policy_path, reward_path
from trainers.cli import main

USER = {"role": "user", "content": "name two toys for a bear"}
GOOD = [{"role": "assistant", "content": "Try ball and kite."}]
BAD = [{"role": "assistant", "content": "Ugh."}]
LINE: dict[str, Any] = {
    "messages": [USER, *GOOD],
    "prompt": [USER],
    "chosen": GOOD,
    "rejected": BAD,
    "answer": GOOD,
    "score": 1.0,
    "candidates": [{"answer": GOOD, "score": 1.0}, {"answer": BAD, "score": 0.0}],
}
"""A line for every command."""

FILE = {
    "sft": "train",
    "reward": "train",
    "dpo": "train",
    "grpo": "train",
    "ppo": "prompts",
    "iterate": "prompts",
    "evaluate": "pairs",
    "collect": "prompts",
    "label": "input",
    "prepare": "input",
}
"""The setting that names each command's data."""
FIELD = {
    **dict.fromkeys(("grpo", "ppo", "iterate", "collect"), "prompt"),
    "sft": "messages",
    **dict.fromkeys(("reward", "dpo", "evaluate"), "chosen"),
    **dict.fromkeys(("label", "prepare"), "candidates"),
}
"""The field that it cannot do without."""

Call = Callable[..., str]


def own_settings(command: str, folder: Path) -> dict[str, Any]:
    policy, reward = {"model": str(policy_path())}, {"reward": str(reward_path())}
    labeller = {"type": "reward_model", "model": str(reward_path())}
    own: dict[str, dict[str, Any]] = {
        "sft": policy,
        "reward": policy,
        "dpo": policy,
        "grpo": policy | reward,
        "ppo": policy | reward | {"prompts_per_iteration": 64},
        "iterate": policy | reward,
        "evaluate": reward,
        "collect": {"policy": str(policy_path())},
        "label": {"labeller": labeller, "format": "listwise"},
        "prepare": {"format": "listwise"},
    }
    return own[command] | {"output": str(folder / "out")}


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """``call("dpo", *lines, **settings)``: what a run on such a file says in its only line."""

    def run(command: str, *lines: dict[str, Any] | str, **changes: Any) -> str:
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (tmp_path / "data.jsonl").write_text("".join(f"{text}\n" for text in texts))
        data = {FILE[command]: str(tmp_path / "data.jsonl")}
        settings = own_settings(command, tmp_path) | data | changes
        config = tmp_path / f"{command}.yaml"
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        assert main([command, "--config", str(config)]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("bon-train: ")
        written = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
        # Journals may have been opened, and reports say how far a run came.
        assert [name for name in written if not name.endswith(("report.json", "jsonl"))] == []
        return error.removeprefix("bon-train: ").replace(f"{tmp_path}/", "")

    return run


@pytest.mark.parametrize("command", FILE)
def test_a_malformed_line(call: Call, command: str) -> None:
    assert call(command, LINE, '{"prompt": [').startswith("data.jsonl:2: broken JSON: Expecting")


@pytest.mark.parametrize("command", FILE)
def test_an_empty_file(call: Call, command: str) -> None:
    assert call(command).startswith("data.jsonl: ")


@pytest.mark.parametrize("command", FILE)
def test_a_missing_field(call: Call, command: str) -> None:
    field = FIELD[command]
    stand_in = {"messages"} if field == "prompt" else set()
    without = {key: value for key, value in LINE.items() if key not in {field, *stand_in}}
    if command == "collect":  # takes prompts out of anything that has one
        without = {"score": 1.0}
    assert call(command, LINE, without).startswith(f"data.jsonl:2: {field}: ")


@pytest.mark.parametrize("command", ["reward", "dpo", "evaluate"])
def test_equal_answers(call: Call, command: str) -> None:
    error = call(command, LINE, LINE | {"rejected": GOOD})
    assert error == "data.jsonl:2: chosen and rejected are equal"


@pytest.mark.parametrize("command", ["label", "prepare"])
def test_equal_answers_are_counted(call: Call, command: str) -> None:
    """Raw data has many; what is left of them says why nothing was."""
    same = [{"answer": GOOD, "score": 1.0}, {"answer": GOOD, "score": 0.0}]
    error = call(command, LINE | {"candidates": same})
    assert "1 equal answers" in error
    assert "1 fewer than two usable answers" in error


@pytest.fixture
def strict(tmp_path: Path) -> dict[str, str]:
    """Copies of the demo models whose chat template refuses a system prompt."""
    found = {}
    for name, source in (("policy", policy_path()), ("reward", reward_path())):
        folder = shutil.copytree(source, tmp_path / f"strict-{name}")
        template = folder / "chat_template.jinja"
        refusal = (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        )
        template.write_text(refusal + template.read_text())
        found[name] = str(folder)
    return found


@pytest.mark.parametrize("command", [name for name in FILE if name not in ("label", "prepare")])
def test_a_line_that_the_template_refuses(call: Call, strict: dict[str, str], command: str) -> None:
    system = {"role": "system", "content": "Be kind."}
    second = {key: [system, *LINE[key]] for key in ("messages", "prompt")}
    key = {"evaluate": "reward", "collect": "policy"}.get(command, "model")
    model = strict["reward" if key == "reward" else "policy"]
    error = call(command, LINE, LINE | second, **{key: model})
    assert error == "data.jsonl:2: the chat template refuses these messages: no system" or (
        error == "data.jsonl:2: chosen: the chat template refuses these messages: no system"
    )


@pytest.mark.parametrize("command", ["dpo", "grpo", "ppo", "iterate"])
def test_a_bad_line_of_the_held_out_prompts_costs_no_run(
    call: Call, tmp_path: Path, command: str
) -> None:
    held_out = tmp_path / "held-out.jsonl"
    held_out.write_text(json.dumps({"prompt": [USER]}) + "\n{}\n")
    error = call(command, *[LINE] * 4, eval_prompts=str(held_out))
    assert error == "held-out.jsonl:2: prompt: Field required"


@pytest.mark.parametrize(
    ("command", "limit", "reason"),
    [
        ("sft", {"max_length": 3}, "every record exceeds max_length 3"),
        ("reward", {"max_length": 3}, "every record exceeds max_length 3"),
        ("dpo", {"max_length": 3}, "no pair is left: 1 exceed max_length 3"),
        ("grpo", {"max_length": 25, "max_new_tokens": 24}, "every prompt exceeds max_length"),
        ("ppo", {"max_prompt_tokens": 3}, "every prompt exceeds max_prompt_tokens 3"),
        ("prepare", {"max_chars": 3}, "no usable record: 2 over the length limit"),
        ("label", {"max_chars": 3}, "nothing to label: 2 over the length limit"),
    ],
)
def test_over_long_records(call: Call, command: str, limit: dict[str, int], reason: str) -> None:
    assert reason in call(command, LINE, **limit)


@pytest.mark.parametrize("command", ["reward", "sft", "dpo"])
def test_a_number_that_is_none(call: Call, command: str) -> None:
    line = json.dumps(LINE).replace('"score": 1.0', '"score": NaN', 1)
    assert call(command, LINE, line) == "data.jsonl:2: broken JSON: NaN is no JSON number"
