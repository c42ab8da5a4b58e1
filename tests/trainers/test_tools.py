"""Tools, names and reasoning reach every command and every reader that has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bon_gateway.testing.script import Call, Step
from tests.trainers.conftest import Serve
from tests.trainers.parity.cases import CALL, LOOK
from tests.trainers.parity.families import BY_NAME, write_models
from tests.trainers.preferences.helpers import (
    bot,
    log_candidate,
    log_line,
    read_lines,
    user,
    write_lines,
)
from trainers.cli import main

RESULT = {"role": "tool", "tool_call_id": "abcdefgh1", "name": "look", "content": "it is blue"}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
PROMPT = [user("Which colour is the sky?"), CALLING, RESULT]
LINE: dict[str, Any] = {
    "prompt": PROMPT,
    "messages": [*PROMPT, bot("Blue.")],
    "chosen": [bot("Blue.")],
    "rejected": [bot("Green?")],
    "tools": [LOOK],
    "chat_template_kwargs": {"enable_thinking": False},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `policy` and `reward`, with a template like Qwen3's."""
    return write_models(BY_NAME["qwen 3"], tmp_path_factory.mktemp("models"))


def run(command: str, folder: Path, *flags: str, **settings: Any) -> int:
    path = folder / f"{command}.yaml"
    path.write_text(yaml.safe_dump({"output": str(folder / "out"), **settings}), encoding="utf-8")
    return main([command, "--config", str(path), *flags])


def settings_of(command: str, models: Path, data: Path) -> dict[str, Any]:
    policy, reward = {"model": str(models / "policy")}, {"reward": str(models / "reward")}
    known: dict[str, dict[str, Any]] = {
        "sft": policy | {"train": str(data), "max_length": 2048, "learn": "last"},
        "dpo": policy | {"train": str(data), "max_length": 2048},
        "reward": policy | {"train": str(data), "max_length": 2048},
        "grpo": policy | reward | {"train": str(data), "max_length": 2048, "max_new_tokens": 4},
        "ppo": policy
        | reward
        | {"prompts": str(data), "max_prompt_tokens": 2048, "sampling": {"max_new_tokens": 4}},
    }
    return known[command]


@pytest.mark.parametrize("command", ["sft", "dpo", "reward", "grpo", "ppo"])
@pytest.mark.parametrize("as_text", [False, True])
def test_a_trainer_renders_them(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    as_text: bool,
) -> None:
    line = LINE | {"tools": json.dumps([LOOK])} if as_text else LINE
    data = write_lines(tmp_path / "data.jsonl", line)
    assert run(command, tmp_path, "--dry-run", **settings_of(command, models, data)) == 0
    shown = capsys.readouterr().out
    assert "<tools>" in shown
    assert '"parameters": {"type": "object"' in shown
    assert '<tool_call>\n{"name": "look", "arguments": {"at": "the sky"}}' in shown
    assert "it is blue" in shown
    # A reward model is served without the policy's template settings.
    assert shown.count("<think>\n\n</think>") >= 1


def test_training_on_them_runs(models: Path, tmp_path: Path) -> None:
    lines = [LINE, LINE | {"prompt": [user("Sky?")], "tools": None}]
    data = write_lines(tmp_path / "data.jsonl", *lines)
    once = {"batch_size": 4, "group_size": 2, "max_steps": 1, "output": str(tmp_path / "grpo")}
    assert run("grpo", tmp_path, **settings_of("grpo", models, data) | once) == 0
    del once["group_size"]
    for command in ("sft", "dpo", "reward"):
        again = once | {"batch_size": 2, "output": str(tmp_path / command)}
        assert run(command, tmp_path, **settings_of(command, models, data) | again) == 0


def test_rewards_depend_on_the_tools(models: Path, tmp_path: Path) -> None:
    means = []
    for name, tools in (("with", [LOOK]), ("without", None)):
        data = write_lines(tmp_path / f"{name}.jsonl", LINE | {"tools": tools})
        settings = {"reward": str(models / "reward"), "pairs": str(data)}
        assert run("evaluate", tmp_path, output=str(tmp_path / f"{name}.json"), **settings) == 0
        means.append(json.loads((tmp_path / f"{name}.json").read_text())["reward_mean"])
    assert means[0] != means[1]


def prepared(tmp_path: Path, *lines: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    data = write_lines(tmp_path / "data.jsonl", *lines)
    assert run("prepare", tmp_path, input=str(data), held_out_share=0, **settings) == 0
    return read_lines(tmp_path / "out" / "train.jsonl")


def test_prepare_carries_them(tmp_path: Path) -> None:
    [line] = prepared(
        tmp_path, LINE | {"tools": json.dumps([LOOK["function"]])}, format="canonical"
    )
    assert line["tools"] == [{"type": "function", "function": LOOK["function"]}]
    assert line["chat_template_kwargs"] == {"enable_thinking": False}
    assert line["prompt"] == [PROMPT[0], {**CALLING, "content": ""}, RESULT]


def test_the_candidate_log_carries_them(tmp_path: Path) -> None:
    sampling = {"tools": [LOOK], "chat_template_kwargs": {"enable_thinking": False}}
    candidates = [log_candidate(0, "Blue.", 1.0), log_candidate(1, "Green?", 0.0)]
    [line] = prepared(tmp_path, log_line(*candidates, messages=PROMPT, sampling=sampling))
    assert line["tools"] == [LOOK]
    assert line["chat_template_kwargs"] == {"enable_thinking": False}
    assert line["prompt"][2] == RESULT


def test_other_tools_make_another_prompt(tmp_path: Path) -> None:
    """Scored answers of one prompt become a list; those with other tools are of another prompt."""
    other = {"type": "function", "function": {"name": "listen"}}
    lines = [
        {"prompt": "Sky?", "answer": text, "score": score, "tools": [tool]}
        for text, score, tool in (
            ("Blue.", 1.0, LOOK),
            ("Red.", 0.0, LOOK),
            ("Green.", 0.5, other),
            ("Grey.", 0.2, other),
        )
    ]
    found = prepared(tmp_path, *lines, form="listwise")
    assert [line["tools"] for line in found] == [[LOOK], [other]]
    assert [len(line["candidates"]) for line in found] == [2, 2]


def test_collect_asks_with_them_and_goes_on(tmp_path: Path, serve: Serve) -> None:
    upstream = serve()
    write_lines(tmp_path / "prompts.jsonl", LINE, LINE | {"tools": None})
    endpoint = {"url": f"{upstream.url}/v1", "model": "fake"}
    settings = {"prompts": str(tmp_path / "prompts.jsonl"), "endpoint": endpoint, "samples": 2}
    output = tmp_path / "answers.jsonl"
    for _ in range(2):
        assert run("collect", tmp_path, **settings | {"output": str(output)}) == 0
    sent = [call.body for call in upstream.calls]
    assert len(sent) == 4
    assert sorted("tools" in body for body in sent) == [False, False, True, True]
    assert all(body["chat_template_kwargs"] == {"enable_thinking": False} for body in sent)
    assert all(body["messages"][2] == RESULT for body in sent)
    assert {json.dumps(line.get("tools")) for line in read_lines(output)} == {
        json.dumps([LOOK]),
        "null",
    }


def label(tmp_path: Path, labeller: dict[str, Any]) -> None:
    candidates = [{"answer": [CALLING]}, {"answer": [bot("Green?")]}]
    line = {"prompt": PROMPT[:1], "candidates": candidates, "tools": [LOOK]}
    write_lines(tmp_path / "in.jsonl", line)
    settings = {"input": str(tmp_path / "in.jsonl"), "output": str(tmp_path / "out.jsonl")}
    assert run("label", tmp_path, labeller=labeller, **settings) == 0
    [found] = read_lines(tmp_path / "out.jsonl")
    assert found["tools"] == [LOOK]


def test_labellers_see_them(models: Path, tmp_path: Path, serve: Serve) -> None:
    def verdict(call: Call) -> Step:
        text = call.body["messages"][0]["content"]
        assert '"name": "look"' in text
        first = text.index('[calls look with {"at": "the sky"}]') < text.index("Green?")
        return Step(text=f"[[{'A' if first else 'B'}]]")

    judge = {"url": f"{serve(verdict).url}/v1", "model": "fake"}
    label(tmp_path, {"type": "judge", "endpoint": judge})
    upstream = serve()
    label(tmp_path / _made(tmp_path, "server"), {"type": "reward_server", "url": upstream.url})
    assert all(item["tools"] == [LOOK] for item in upstream.calls[0].body["items"])
    here = {"type": "reward_model", "model": str(models / "reward")}
    label(tmp_path / _made(tmp_path, "model"), here)


def _made(folder: Path, name: str) -> str:
    (folder / name).mkdir()
    return name


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tools": "["}, "tools: broken JSON"),
        ({"tools": {"a": 1}}, "tools: a list of tool definitions is expected"),
        ({"tools": [{"type": "function"}]}, "tools.0.function.name: missing"),
        ({"chat_template_kwargs": [1]}, "chat_template_kwargs: an object is expected"),
        (
            {"chat_template_kwargs": {"tokenize": True}},
            "chat_template_kwargs.tokenize: no variable of a chat template",
        ),
        (
            {"messages": [user("a"), {**bot("b"), "reasoning_content": 3}]},
            "messages.1.reasoning_content: text is expected",
        ),
    ],
)
def test_what_is_none_is_named(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    reason: str,
) -> None:
    data = write_lines(tmp_path / "data.jsonl", LINE, LINE | change)
    assert run("sft", tmp_path, **settings_of("sft", models, data)) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"bon-train: {data}:2: {reason}"


def test_an_old_function_call_is_a_tool_call(tmp_path: Path) -> None:
    """OpenAI's form from before there were tools, whose answer would be empty content."""
    call = {"name": "look", "arguments": '{"at": "the sky"}'}
    messages = [
        user("Sky?"),
        {"role": "assistant", "content": None, "function_call": call},
        {"role": "function", "name": "look", "content": "blue"},
    ]
    answer = {"role": "assistant", "content": None, "function_call": call}
    line = {"prompt": messages, "chosen": [answer], "rejected": [bot("no")]}
    [found] = prepared(tmp_path, line | {"functions": [LOOK["function"]]})
    [made] = found["chosen"][0]["tool_calls"]
    assert made["function"] == call
    assert found["chosen"][0]["content"] == ""
    assert found["prompt"][1]["tool_calls"] == [made]
    assert found["prompt"][2] == {
        "role": "tool",
        "content": "blue",
        "tool_call_id": made["id"],
        "name": "look",
    }
    assert found["tools"] == [{"type": "function", "function": LOOK["function"]}]


THOUGHT = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Blue."}]


@pytest.mark.parametrize(
    "answer",
    [
        {"role": "assistant", "content": "Blue.", "reasoning_content": "hm"},
        {"role": "assistant", "content": "Blue.", "reasoning": "hm"},
        {"role": "assistant", "content": THOUGHT},
    ],
)
def test_reasoning_is_kept_apart(tmp_path: Path, answer: dict[str, Any]) -> None:
    line = {"prompt": "Sky?", "chosen": [answer], "rejected": [bot("Blue.")]}
    [found] = prepared(tmp_path, line)
    assert found["chosen"] == [{**bot("Blue."), "reasoning_content": "hm"}]


def test_reasoning_is_the_policys_alone(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers that differ in it alone are a pair for a policy, and none for a reward model."""
    thinking = {**bot("Blue."), "reasoning_content": "Light scatters."}
    line = {"prompt": [user("Sky?")], "chosen": [thinking], "rejected": [bot("Blue.")]}
    data = write_lines(tmp_path / "data.jsonl", line, LINE)
    assert run("dpo", tmp_path, "--dry-run", **settings_of("dpo", models, data)) == 0
    shown = capsys.readouterr().out
    assert "<think>\nLight scatters.\n</think>\n\nBlue." in shown
    assert "<think>\n\n</think>\n\nBlue." in shown
    assert run("reward", tmp_path, "--dry-run", **settings_of("reward", models, data)) == 0
    shown = capsys.readouterr().out
    assert "scatters" not in shown
    assert "pairs: 1, dropped as too long: 0\ndropped as equal once rendered: 1" in shown
