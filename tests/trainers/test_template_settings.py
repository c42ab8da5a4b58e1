"""Settings of tokens and templates, `skip_bad`, and tokenizers with named templates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, GenerationConfig

from bon_gateway.backends.policy.embedded import prompt as embedded
from reward_server.scoring.render import Renderer
from tests.trainers.parity.families import BY_NAME, Family, write_models, write_policy
from tests.trainers.preferences.helpers import bot, user, write_lines
from tests.trainers.test_tools import LINE, run
from trainers.rewards.meta import read_meta, template_hash

SYSTEM = {"role": "system", "content": "Be brief."}
PAIR = {
    "prompt": [user("Sky?")],
    "messages": [user("Sky?"), bot("Blue.")],
    "chosen": [bot("Blue.")],
    "rejected": [bot("Green?")],
}
ONCE = {"batch_size": 2, "max_steps": 1, "max_length": 2048}


def with_system(line: dict[str, Any]) -> dict[str, Any]:
    return line | {key: [SYSTEM, *line[key]] for key in ("prompt", "messages")}


def base_model(folder: Path, family: Family, **changes: Any) -> Path:
    """A checkpoint of the family whose tokenizer is changed; nothing else names an end."""
    tokenizer: Any = write_policy(family, folder)
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)
    if tokenizer.chat_template is None:
        (folder / "chat_template.jinja").unlink()
    GenerationConfig(eos_token_id=tokenizer.eos_token_id).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("command", ["sft", "dpo"])
@pytest.mark.parametrize("name", ["gemma", "phi", "llama 3"])
def test_ends_are_those_of_the_generation_settings(
    tmp_path: Path, command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    family = BY_NAME[name]
    write_policy(family, tmp_path / "policy")
    data = write_lines(tmp_path / "data.jsonl", PAIR)
    settings = {"model": str(tmp_path / "policy"), "train": str(data)}
    assert run(command, tmp_path, "--dry-run", **settings) == 0
    shown = capsys.readouterr().out
    assert f"Blue.{family.end}\n" in shown.split("learnt: ", 1)[-1] or command == "dpo"
    assert f"Blue.{family.end}\n" in shown


@pytest.mark.parametrize("command", ["sft", "dpo", "reward"])
def test_a_base_model_is_given_template_end_and_padding(tmp_path: Path, command: str) -> None:
    chatml = BY_NAME["chatml"]
    base = replace(chatml, special=(*chatml.special, "<|endoftext|>"), eos="<|endoftext|>")
    changes = {"chat_template": None, "pad_token": "<|endoftext|>"}
    model = base_model(tmp_path / "base", base, **changes)
    assert isinstance(chatml.template, str)
    (tmp_path / "chatml.jinja").write_text(chatml.template)
    data = write_lines(tmp_path / "data.jsonl", PAIR, with_system(PAIR))
    settings = {
        "model": str(model),
        "train": str(data),
        "chat_template": str(tmp_path / "chatml.jinja"),
        "eos_token": "<|im_end|>",
        **ONCE,
    }
    assert run(command, tmp_path, **settings) == 0
    out = tmp_path / "out"
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.chat_template == chatml.template
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    card = (out / "README.md").read_text()
    assert "- eos_token: <|im_end|>" in card
    assert "- chat_template: chatml.jinja" in card
    assert str(tmp_path) not in card.split("## Settings")[1]
    if command != "reward":
        ends = GenerationConfig.from_pretrained(out).eos_token_id
        assert tokenizer.eos_token_id in (ends if isinstance(ends, list) else [ends])


@pytest.mark.parametrize("command", ["grpo", "ppo", "iterate"])
def test_those_that_draw_take_them_too(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chatml = BY_NAME["chatml"]
    write_models(chatml, tmp_path)
    model = base_model(tmp_path / "base", chatml, chat_template=None, eos_token="<pad>")
    assert isinstance(chatml.template, str)
    (tmp_path / "chatml.jinja").write_text(chatml.template)
    data = write_lines(tmp_path / "data.jsonl", with_system(PAIR), "{")
    settings: dict[str, Any] = {
        "model": str(model),
        "reward": str(tmp_path / "reward"),
        "prompts" if command != "grpo" else "train": str(data),
        "chat_template": str(tmp_path / "chatml.jinja"),
        "eos_token": "<|im_end|>",
        "system_prompt": "merge",
        "skip_bad": True,
        **({"max_new_tokens": 4} if command != "ppo" else {"sampling": {"max_new_tokens": 4}}),
    }
    assert run(command, tmp_path, "--dry-run", **settings) == 0
    shown = capsys.readouterr().out
    assert "bad lines skipped: 1" in shown
    assert command == "iterate" or "<|im_start|>user\nBe brief.\n\nSky?<|im_end|>" in shown


def test_padding_that_ends_a_turn_is_refused_with_what_to_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chatml = BY_NAME["chatml"]
    base = replace(chatml, special=(*chatml.special, "<|endoftext|>"))
    model = base_model(tmp_path / "base", base, pad_token="<|im_end|>")
    data = write_lines(tmp_path / "data.jsonl", PAIR)
    settings = {"model": str(model), "train": str(data), **ONCE}
    assert run("reward", tmp_path, **settings) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message == (
        f"bon-train: {model}: a reward model needs a padding token that is not the end-of-turn "
        'token; set pad_token, for example to "<pad>"'
    )
    assert run("reward", tmp_path, **settings, pad_token="<|endoftext|>") == 0
    meta = read_meta(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert meta is not None
    assert meta.pad_token_id == tokenizer.pad_token_id
    assert tokenizer.pad_token == "<|endoftext|>"
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["pad_token_id"] == tokenizer.pad_token_id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"eos_token": "<|stop|>"}, "eos_token: {model} has no token '<|stop|>'; its special ones"),
        ({"pad_token": "<|x|>"}, "pad_token: {model} has no token '<|x|>'"),
        ({"chat_template": "none.jinja"}, "chat_template: none.jinja: No such file or directory"),
    ],
)
def test_what_does_not_exist_is_named(
    tmp_path: Path, change: dict[str, str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "policy"
    write_policy(BY_NAME["chatml"], model)
    data = write_lines(tmp_path / "data.jsonl", PAIR)
    assert run("sft", tmp_path, model=str(model), train=str(data), **change) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("bon-train: " + reason.format(model=model))


@pytest.mark.parametrize("command", ["sft", "dpo", "reward"])
def test_a_record_that_the_template_refuses_is_counted(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_policy(BY_NAME["gemma"], tmp_path / "policy")
    data = write_lines(tmp_path / "data.jsonl", PAIR, with_system(PAIR), "{", PAIR)
    settings = {"model": str(tmp_path / "policy"), "train": str(data), **ONCE}
    assert run(command, tmp_path, **settings) == 2
    assert run(command, tmp_path, **settings, skip_bad=True) == 0
    shown = capsys.readouterr().out
    assert "bad lines skipped: 2" in shown
    assert "refuses these messages: System role not supported" in shown
    assert "| bad lines skipped | 2 |" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(("use", "asked"), [("drop", "Sky?"), ("merge", "Be brief.\n\nSky?")])
@pytest.mark.parametrize("command", ["sft", "reward"])
def test_a_system_prompt_is_read_by_the_output_as_in_training(
    tmp_path: Path, command: str, use: str, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_policy(BY_NAME["gemma"], tmp_path / "policy")
    data = write_lines(tmp_path / "data.jsonl", with_system(PAIR))
    settings = {"model": str(tmp_path / "policy"), "train": str(data), "system_prompt": use}
    assert run(command, tmp_path, "--dry-run", **settings) == 0
    prompt = f"<bos><start_of_turn>user\n{asked}<end_of_turn>\n<start_of_turn>model\n"
    assert prompt in capsys.readouterr().out
    assert run(command, tmp_path, **settings, **ONCE | {"batch_size": 1}) == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    messages = [SYSTEM, user("Sky?")]
    served = embedded.prompt_ids(tokenizer, messages, {})
    assert tokenizer.decode(served) == prompt
    judged = Renderer(tokenizer).render(messages, "Blue.").ids
    assert tokenizer.decode(list(judged)) == f"{prompt}Blue.<end_of_turn>\n"
    assert f"system_prompt: {use}" in (tmp_path / "out" / "README.md").read_text()
    again = {"model": str(tmp_path / "out"), "output": str(tmp_path / "again"), "batch_size": 1}
    assert run(command, tmp_path, **settings | ONCE | again) == 0
    assert AutoTokenizer.from_pretrained(tmp_path / "again").chat_template == (
        tokenizer.chat_template
    )


@pytest.mark.parametrize("command", ["sft", "dpo", "reward"])
def test_of_named_templates_the_right_one_is_taken(tmp_path: Path, command: str) -> None:
    family = BY_NAME["command r"]
    write_policy(family, tmp_path / "policy")
    with_tools = {key: value for key, value in LINE.items() if key != "chat_template_kwargs"}
    data = write_lines(tmp_path / "data.jsonl", PAIR, with_tools)
    settings = {"model": str(tmp_path / "policy"), "train": str(data), **ONCE}
    assert run(command, tmp_path, **settings) == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == family.template
    if command == "reward":
        meta = read_meta(tmp_path / "out")
        assert meta is not None
        assert meta.chat_template_sha256 == template_hash(family.template)


def test_named_templates_without_a_default_are_refused_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = BY_NAME["chatml"].template
    assert isinstance(chat, str)
    family = replace(BY_NAME["chatml"], template={"chat": chat, "tool_use": chat})
    write_policy(family, tmp_path / "policy")
    data = write_lines(tmp_path / "data.jsonl", PAIR)
    settings = {"model": str(tmp_path / "policy"), "train": str(data)}
    assert run("reward", tmp_path, **settings) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    named = "has the chat templates chat, tool_use and none is the default"
    assert message.endswith(f"{named}; set chat_template to one of them")
    assert run("reward", tmp_path, "--dry-run", **settings, chat_template="chat") == 0
