"""No weight is made up: every command refuses a checkpoint that lacks one, by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from trainers.base.errors import ModelError
from trainers.base.loading import load_pretrained, load_tokenizer
from trainers.cli import main
from trainers.runtime.trained import answers, read_record

Refusal = Callable[..., str]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def without_a_layer(source: Path, folder: Path) -> Path:
    """A copy that lacks the weights of its last layer."""
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if ".layers.1." not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    return folder


def settings_of(command: str, policy: Path, tiny: Path, world: Path) -> dict[str, Any]:
    pairs, prompts = str(world / "pairs.jsonl"), str(tiny / "prompts.jsonl")
    train = {"model": str(policy), "batch_size": 4, "max_length": 128, "max_steps": 1}
    reward = {"reward": str(tiny / "reward")}
    return {
        "sft": train | {"train": str(world / "sft.jsonl")},
        "dpo": train | {"train": pairs},
        "reward": train | {"train": pairs},
        "grpo": train
        | reward
        | {"train": prompts, "max_new_tokens": 4, "group_size": 2, "batch_size": 4},
        "ppo": reward
        | {
            "model": str(policy),
            "prompts": prompts,
            "iterations": 1,
            "prompts_per_iteration": 2,
            "update": {"minibatch_size": 2},
            "sampling": {"max_new_tokens": 4},
        },
        "collect": {"policy": str(policy), "prompts": prompts, "samples": 2, "max_tokens": 4},
        "iterate": reward
        | {
            "model": str(policy),
            "prompts": prompts,
            "rounds": 1,
            "max_new_tokens": 4,
            "dpo": {"max_length": 128, "max_steps": 1, "batch_size": 1},
        },
        "evaluate": reward
        | {
            "policy": str(policy),
            "prompts": prompts,
            "samples": 2,
            "n_values": [1, 2],
            "max_new_tokens": 4,
            "judge_reward": str(tiny / "reward"),
        },
    }[command]


@pytest.fixture
def refused(tmp_path: Path, tiny: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """``refused("dpo", folder)``: the only line of a run on that policy."""

    def run(command: str, policy: Path, **changes: Any) -> str:
        values = settings_of(command, policy, tiny, world) | changes
        values["output"] = str(tmp_path / "out")
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
        assert main([command, "--config", str(tmp_path / "run.yaml")]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        return line.removeprefix("bon-train: ").replace(f"{tmp_path}/", "").replace(f"{tiny}/", "")

    return run


POLICY_COMMANDS = ("sft", "dpo", "grpo", "ppo", "collect", "iterate", "evaluate")


@pytest.mark.parametrize("command", [*POLICY_COMMANDS, "reward"])
def test_a_missing_layer(command: str, refused: Refusal, tiny: Path, tmp_path: Path) -> None:
    broken = without_a_layer(tiny / "policy", tmp_path / "broken")
    assert refused(command, broken).startswith(
        "broken: the weights lack model.layers.1.input_layernorm.weight, "
    )


@pytest.mark.parametrize("command", POLICY_COMMANDS)
def test_a_reward_model_in_place_of_a_policy(command: str, refused: Refusal, tiny: Path) -> None:
    assert refused(command, tiny / "reward") == (
        "reward: a reward model (LlamaForSequenceClassification), not a policy"
    )


@pytest.mark.parametrize("command", POLICY_COMMANDS)
def test_a_policy_without_its_output_layer(
    command: str, refused: Refusal, tiny: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny / "reward", tmp_path / "broken"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"architectures": ["LlamaForCausalLM"]})
    )
    assert refused(command, folder) == "broken: the weights lack lm_head.weight"


def test_weights_of_another_size_are_named(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny / "reward", tmp_path / "m"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"0": "a", "1": "b"}}))
    with pytest.raises(ModelError, match=r"score\.weight is 1x16 in the weights and 2x16"):
        load_pretrained(AutoModelForSequenceClassification, folder)


@pytest.mark.parametrize("command", [*POLICY_COMMANDS, "reward"])
def test_a_tokenizer_of_more_tokens_than_the_embedding(
    command: str, refused: Refusal, tiny: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny / "policy", tmp_path / "m"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = len(tokenizer)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)
    assert refused(command, folder) == (
        f"m: the tokenizer has token ids up to {rows}, the embedding has {rows} rows"
    )


@pytest.mark.parametrize("command", ["sft", "dpo", "grpo", "reward"])
def test_max_length_over_the_positions(command: str, refused: Refusal, tiny: Path) -> None:
    assert refused(command, tiny / "policy", max_length=257) == (
        "max_length: 257 is over the 256 tokens that policy can read"
    )


@pytest.mark.parametrize(
    ("command", "key", "changes"),
    [
        ("ppo", "sampling.max_new_tokens", {"sampling": {"max_new_tokens": 256}}),
        ("collect", "max_tokens", {"max_tokens": 256}),
        ("evaluate", "max_new_tokens", {"max_new_tokens": 256}),
        ("iterate", "max_new_tokens", {"max_new_tokens": 256}),
        ("dpo", "eval_max_new_tokens", {"eval_max_new_tokens": 256}),
    ],
)
def test_answers_over_the_positions(
    command: str, key: str, changes: dict[str, Any], refused: Refusal, tiny: Path
) -> None:
    prompts = {"eval_prompts": str(tiny / "prompts.jsonl")} if command == "dpo" else {}
    line = refused(command, tiny / "policy", **changes, **prompts)
    assert line.startswith(f"{key}: 256 after a prompt of ")
    assert line.endswith(" tokens is over the 256 tokens that the model can read")


def adapter_of(base: Path, kind: Any, folder: Path, task: TaskType | None) -> Any:
    """An adapter as TRL leaves it: on a base, with its tokenizer, and nothing merged."""
    model = get_peft_model(
        kind.from_pretrained(base, num_labels=1),
        LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type=task),
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.1)
    model.save_pretrained(str(folder))
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return model


@pytest.mark.parametrize("task", [TaskType.CAUSAL_LM, None])
def test_an_adapter_is_loaded_with_its_base(
    tiny: Path, tmp_path: Path, task: TaskType | None
) -> None:
    model = adapter_of(tiny / "policy", AutoModelForCausalLM, tmp_path / "a", task)
    (tmp_path / "a" / "tokenizer_config.json").unlink()
    ids = load_tokenizer(tmp_path / "a")("name two toys", return_tensors="pt")["input_ids"]
    loaded = load_pretrained(AutoModelForCausalLM, tmp_path / "a")
    assert not isinstance(loaded, PeftModel)
    difference = loaded.eval()(ids).logits - model.eval()(ids).logits
    assert float(difference.detach().abs().max()) < 1e-4


def test_a_reward_models_adapter_brings_its_head(tiny: Path, tmp_path: Path) -> None:
    kind = AutoModelForSequenceClassification
    adapter_of(tiny / "policy", kind, tmp_path / "a", TaskType.SEQ_CLS)
    first, second = (load_pretrained(kind, tmp_path / "a") for _ in range(2))
    assert bool((first.score.weight == second.score.weight).all())
    weights = load_file(tmp_path / "a" / "adapter_model.safetensors")
    kept = {name: value for name, value in weights.items() if "score" not in name}
    save_file(kept, tmp_path / "a" / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="the adapter brings no reward head"):
        load_pretrained(kind, tmp_path / "a")
    with pytest.raises(ModelError, match="an adapter of a reward model, not of a policy"):
        load_pretrained(AutoModelForCausalLM, tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("model.safetensors", POINTER, "m/model.safetensors: a pointer of Git LFS, not the file"),
        ("tokenizer.json", POINTER, "m/tokenizer.json: a pointer of Git LFS, not the file"),
        ("tokenizer.json", "{}", "m: no tokenizer can be loaded: "),
        ("tokenizer.json", '{"added_tokens": [], "model": {}}', "m: no tokenizer can be loaded: "),
        ("pytorch_model.bin", "junk", "m: no such model can be loaded: "),
        ("chat_template.jinja", "\n{% for m in messages %}{{ m.x }", "m: chat template, line 2: "),
    ],
)
def test_a_file_of_a_model_that_is_broken(
    name: str, content: str, reason: str, refused: Refusal, tiny: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny / "policy", tmp_path / "m"))
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    (folder / name).write_text(content)
    assert refused("sft", folder).startswith(reason)


def test_an_adapter_of_another_base_names_a_layer(tiny: Path, tmp_path: Path) -> None:
    adapter_of(tiny / "policy", AutoModelForCausalLM, tmp_path / "a", TaskType.CAUSAL_LM)
    config = AutoConfig.from_pretrained(tiny / "policy", hidden_size=32)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "wide")
    path = tmp_path / "a" / "adapter_config.json"
    values = json.loads(path.read_text()) | {"base_model_name_or_path": str(tmp_path / "wide")}
    path.write_text(json.dumps(values))
    with pytest.raises(ModelError, match=r"no adapter for .*wide: .*size mismatch for .*q_proj"):
        load_pretrained(AutoModelForCausalLM, tmp_path / "a")


def test_an_adapter_that_lacks_a_layer_is_refused(tiny: Path, tmp_path: Path) -> None:
    adapter_of(tiny / "policy", AutoModelForCausalLM, tmp_path / "a", TaskType.CAUSAL_LM)
    weights = load_file(tmp_path / "a" / "adapter_model.safetensors")
    kept = {name: value for name, value in weights.items() if ".layers.1." not in name}
    save_file(kept, tmp_path / "a" / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"the adapter lacks model\.layers\.1\."):
        load_pretrained(AutoModelForCausalLM, tmp_path / "a")


def test_an_adapters_base_lacks_a_layer(tiny: Path, tmp_path: Path) -> None:
    adapter_of(tiny / "policy", AutoModelForCausalLM, tmp_path / "a", TaskType.CAUSAL_LM)
    broken = without_a_layer(tiny / "policy", tmp_path / "broken")
    config = tmp_path / "a" / "adapter_config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"base_model_name_or_path": str(broken)}))
    with pytest.raises(ModelError, match=r"broken: the weights lack model\.layers\.1\."):
        load_pretrained(AutoModelForCausalLM, tmp_path / "a")


@pytest.mark.parametrize("command", ["sft", "dpo", "collect", "reward"])
def test_commands_start_from_an_adapter(
    command: str, tiny: Path, world: Path, tmp_path: Path
) -> None:
    adapter_of(tiny / "policy", AutoModelForCausalLM, tmp_path / "a", TaskType.CAUSAL_LM)
    values = settings_of(command, tmp_path / "a", tiny, world)
    values["output"] = str(tmp_path / "out")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    assert main([command, "--config", str(tmp_path / "run.yaml")]) == 0


def test_a_reward_models_tokenizer_of_more_tokens(
    refused: Refusal, tiny: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny / "reward", tmp_path / "m"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)
    assert refused("grpo", tiny / "policy", reward=str(folder)).startswith(
        "m: the tokenizer has token ids up to "
    )


@pytest.mark.parametrize("command", ["sft", "dpo", "reward"])
def test_an_adapter_is_trained_on(command: str, tiny: Path, world: Path, tmp_path: Path) -> None:
    """The output's adapter has the shape of the first, on the same base, and other weights."""
    kind: Any = AutoModelForCausalLM
    task = TaskType.CAUSAL_LM
    if command == "reward":
        kind, task = AutoModelForSequenceClassification, TaskType.SEQ_CLS
    adapter_of(tiny / "policy", kind, tmp_path / "a", task)
    values = settings_of(command, tmp_path / "a", tiny, world)
    values |= {"output": str(tmp_path / "out"), "adapter": "continue", "learning_rate": 0.01}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    assert main([command, "--config", str(tmp_path / "run.yaml")]) == 0
    adapter = tmp_path / "out" / "adapter"
    assert [path.name for path in adapter.iterdir() if path.is_dir()] == []
    before, after = (
        load_file(folder / "adapter_model.safetensors") for folder in (tmp_path / "a", adapter)
    )
    assert before.keys() == after.keys()
    assert any(bool((before[name] != after[name]).any()) for name in before)
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny / "policy")
    record = read_record(adapter)
    assert record is not None
    for folder in (adapter, tmp_path / "out"):
        found = answers(load_pretrained(kind, folder), record["sequences"])
        for one, trained in zip(found, record["answers"], strict=True):
            assert one.tolist() == pytest.approx(trained, abs=1e-4)


@pytest.mark.parametrize(
    ("command", "changes", "message"),
    [
        ("sft", {"lora": {"r": 2}}, "with adapter: continue the adapter keeps its own shape"),
        ("dpo", {"sft_first": {}}, "sft_first: not with adapter: continue"),
        ("grpo", {}, "adapter: merge it"),
        ("sft", {}, "adapter: continue: policy is no adapter"),
    ],
)
def test_where_no_adapter_can_be_trained_on(
    command: str, changes: dict[str, Any], message: str, refused: Refusal, tiny: Path
) -> None:
    assert message in refused(command, tiny / "policy", adapter="continue", **changes)


def test_a_policys_adapter_brings_no_reward_head_to_go_on_with(
    refused: Refusal, tiny: Path, tmp_path: Path
) -> None:
    adapter_of(tiny / "policy", AutoModelForCausalLM, tmp_path / "a", TaskType.CAUSAL_LM)
    assert "brings no reward head" in refused("reward", tmp_path / "a", adapter="continue")
