"""A policy that is sampled in this process is given tools only where its calls can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bon_gateway.strategies.conversation import RewardView
from reward_server.scoring.render import Renderer
from tests.trainers.parity.cases import LOOK, SKY
from tests.trainers.parity.families import BY_NAME, tokenizer_of, write_models
from tests.trainers.preferences.helpers import write_lines
from tests.trainers.test_tools import run
from trainers.base.data import Conversation
from trainers.base.errors import DataError
from trainers.base.template_inputs import TemplateInputs
from trainers.base.thinking import drawn_message
from trainers.policy.drawn_calls import DrawnCalls
from trainers.rewards.one import render

ASKED = Conversation([{"role": "user", "content": SKY["content"]}], TemplateInputs([LOOK]))
DRAWN = 'So:\n<tool_call>\n{"name": "look", "arguments": {"at": "the sky"}}\n</tool_call>'
SERVED = {
    "role": "assistant",
    "content": "So:\n",
    "tool_calls": [
        {
            "id": "chatcmpl-tool-1",
            "type": "function",
            "function": {"name": "look", "arguments": '{"at": "the sky"}'},
        }
    ],
}
"""What vLLM makes of it with its `hermes` parser."""
WRITTEN_OTHERWISE = ("llama 3", "mistral", "command r", "granite")


def test_the_reward_model_reads_what_the_gateway_hands_it() -> None:
    renderer = Renderer(tokenizer_of(BY_NAME["qwen 3"]))
    view = RewardView(None, None, None)  # type: ignore[arg-type]  # the answer needs no request
    behind = renderer.render(ASKED.messages, view.answer(SERVED), [LOOK])
    drawn = ASKED.answered([drawn_message(DRAWN, None, [LOOK])])
    assert render(renderer, drawn, "here").ids == behind.ids


def test_which_templates_write_calls_that_can_be_read() -> None:
    DrawnCalls(tokenizer_of(BY_NAME["qwen 3"])).require(ASKED, "here")
    for name in WRITTEN_OTHERWISE:
        calls = DrawnCalls(tokenizer_of(BY_NAME[name]))
        calls.require(Conversation(ASKED.messages), "here")
        with pytest.raises(DataError, match=r"^here: tools: calls are only read between <tool_"):
            calls.require(ASKED, "here")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `policy` and `reward`, with a template like Llama 3's."""
    return write_models(BY_NAME["llama 3"], tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("command", ["collect", "evaluate", "grpo", "ppo", "iterate"])
def test_tools_are_refused_otherwise(
    models: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"prompt": ASKED.messages}
    data = str(write_lines(tmp_path / "prompts.jsonl", line, line | {"tools": [LOOK]}))
    policy, reward = {"policy": str(models / "policy")}, {"reward": str(models / "reward")}
    model = {"model": str(models / "policy")}
    settings: dict[str, dict[str, Any]] = {
        "collect": policy | {"prompts": data, "max_tokens": 4},
        "evaluate": policy | reward
        | {"prompts": data, "samples": 2, "max_new_tokens": 4, "judge_reward": reward["reward"]},
        "grpo": model | reward | {"train": data, "max_new_tokens": 4, "max_length": 2048},
        "ppo": model | reward | {"prompts": data, "sampling": {"max_new_tokens": 4}},
        "iterate": model | reward | {"prompts": data, "max_new_tokens": 4},
    }  # fmt: skip
    assert run(command, tmp_path, **settings[command] | {"output": str(tmp_path / "o.json")}) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"bon-train: {data}:2: tools: calls are only read between")
    assert "sample from an endpoint" in error
