from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from bon_gateway.demo_models import policy_path, reward_path
from tests.trainers.export.adapters import KINDS, adapted, logits
from trainers.base.context import RunContext
from trainers.base.data import Conversation
from trainers.base.errors import ModelError, RunError, TrainersError
from trainers.cli import main
from trainers.demo.tokenizer import build_tokenizer
from trainers.export.checks import TOLERANCE, require_parity
from trainers.export.run import export
from trainers.export.settings import ExportSettings
from trainers.rewards.one import score
from trainers.runtime.lora import Task
from trainers.runtime.saving import save

DIFFERENCE = "largest relative difference of an output"
QUIET = RunContext("bon-train export", show=lambda text: None)
TURNS: Any = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "name a kite ."}]


def settings(model: Path, output: Path, **changes: object) -> ExportSettings:
    return ExportSettings.model_validate({"model": model, "output": output, **changes})


@KINDS
def test_an_adapter_is_merged_and_gives_the_same(
    tmp_path: Path, kind: Any, base: Callable[[], Path], task: Task
) -> None:
    adapted(kind, base(), task, tmp_path / "run")
    whole = kind.from_pretrained(tmp_path / "run")
    parity = export(settings(tmp_path / "run" / "adapter", tmp_path / "served"), QUIET)
    assert parity[DIFFERENCE] <= TOLERANCE["float32"]
    served = kind.from_pretrained(tmp_path / "served")
    torch.testing.assert_close(logits(served), logits(whole), atol=1e-4, rtol=0)
    untrained = logits(kind.from_pretrained(base()))
    assert float((logits(served) - untrained).abs().max()) > 0.01
    assert [path.name for path in tmp_path.glob(".*")] == []
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / "served").iterdir())


def test_a_checkpoint_keeps_its_card_and_its_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "export.yaml"
    output = tmp_path / "served"
    config.write_text(f"model: {reward_path()}\noutput: {output}\n", encoding="utf-8")
    assert main(["export", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert f"reward model: vllm serve {output} --runner pooling" in out
    assert "largest relative difference of an output: 0\n" in out
    assert score(output, [Conversation(TURNS)], 1) == score(reward_path(), [Conversation(TURNS)], 1)
    assert (output / "README.md").read_text() == (reward_path() / "README.md").read_text()
    assert not (output / "generation_config.json").exists()


def test_bfloat16_and_sampling_defaults(tmp_path: Path) -> None:
    chosen = {"temperature": 0.7, "top_k": 20, "max_new_tokens": 64}
    wanted = settings(policy_path(), tmp_path / "served", dtype="bfloat16", generation=chosen)
    parity = export(wanted, QUIET)
    assert 0 < parity[DIFFERENCE] <= parity["tolerance"] == TOLERANCE["bfloat16"]
    served = AutoModelForCausalLM.from_pretrained(tmp_path / "served")
    assert served.dtype == torch.bfloat16
    written = json.loads((tmp_path / "served" / "generation_config.json").read_text())
    assert written["do_sample"] is True
    assert {key: written[key] for key in chosen} == chosen
    tokenizer = AutoTokenizer.from_pretrained(policy_path())
    assert written["eos_token_id"] == tokenizer.eos_token_id


def test_greedy_by_default(tmp_path: Path) -> None:
    wanted = settings(policy_path(), tmp_path / "served", generation={"temperature": 0})
    export(wanted, QUIET)
    written = json.loads((tmp_path / "served" / "generation_config.json").read_text())
    assert written["do_sample"] is False


def save_with(folder: Path, base: Path, kind: Any, change: Callable[[Any, Any], None]) -> Path:
    tokenizer, model = build_tokenizer(), kind.from_pretrained(base)
    change(tokenizer, model)
    save(model, tokenizer, folder)
    return folder


def pad_is_eos(tokenizer: Any, model: Any) -> None:
    tokenizer.pad_token = tokenizer.eos_token


def other_pad(tokenizer: Any, model: Any) -> None:
    model.config.pad_token_id = 7


def no_template(tokenizer: Any, model: Any) -> None:
    tokenizer.chat_template = None


def other_prompt(tokenizer: Any, model: Any) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<answer>{% endif %}"
    )


def no_answer(tokenizer: Any, model: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{% endfor %}"


@pytest.mark.parametrize(
    ("base", "kind", "change", "message"),
    [
        (reward_path, AutoModelForSequenceClassification, pad_is_eos, "a padding token that is"),
        (reward_path, AutoModelForSequenceClassification, other_pad, "the model pads with token 7"),
        (reward_path, AutoModelForSequenceClassification, no_template, "has no chat template"),
        (policy_path, AutoModelForCausalLM, no_template, "has no chat template"),
        (policy_path, AutoModelForCausalLM, other_prompt, "is not how it writes an answer"),
        (policy_path, AutoModelForCausalLM, no_answer, "the chat template leaves out the answer"),
    ],
)
def test_what_would_be_served_wrongly_is_refused(
    tmp_path: Path, base: Callable[[], Path], kind: Any, change: Any, message: str
) -> None:
    model = save_with(tmp_path / "model", base(), kind, change)
    with pytest.raises(ModelError, match=message) as error:
        export(settings(model, tmp_path / "served"), QUIET)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "served").exists()


def edit(path: Path, **changes: object) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | changes), encoding="utf-8")


def test_an_adapter_that_cannot_be_merged_is_refused(tmp_path: Path) -> None:
    adapted(AutoModelForCausalLM, policy_path(), "CAUSAL_LM", tmp_path / "run")
    adapter, output = tmp_path / "run" / "adapter", tmp_path / "served"
    edit(adapter / "adapter_config.json", base_model_name_or_path="gone")
    with pytest.raises(ModelError, match=r"^gone: no such model folder"):
        export(settings(adapter, output), QUIET)
    export(settings(adapter, output, base=policy_path()), QUIET)
    edit(adapter / "adapter_config.json", task_type="SEQ_CLS")
    with pytest.raises(ModelError, match="the adapter brings no reward head"):
        export(settings(adapter, tmp_path / "other", base=policy_path()), QUIET)
    edit(adapter / "adapter_config.json", task_type="FEATURE_EXTRACTION")
    with pytest.raises(ModelError, match="an adapter for FEATURE_EXTRACTION"):
        export(settings(adapter, tmp_path / "other", base=policy_path()), QUIET)


def test_neither_policy_nor_reward_model(tmp_path: Path) -> None:
    model = save_with(tmp_path / "m", policy_path(), AutoModelForCausalLM, lambda t, m: None)
    edit(model / "config.json", architectures=["LlamaModel"])
    with pytest.raises(ModelError, match="LlamaModel is neither a policy"):
        export(settings(model, tmp_path / "served"), QUIET)


def test_an_output_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(RunError, match="already there"):
        export(settings(policy_path(), tmp_path), QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(TrainersError, match="served could not be written: "):
            export(settings(policy_path(), tmp_path / "served"), QUIET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [torch.tensor([[10.01, 3.0]]), torch.tensor([[float("nan"), 3]])])
def test_outputs_that_differ_are_refused(wrong: torch.Tensor) -> None:
    right = torch.tensor([[10.0, 3.0]])
    assert require_parity([right], [right + 5e-4], "float32", "m") < 1e-4
    with pytest.raises(
        ModelError, match=r"m: what was written differs by .* from what was trained"
    ):
        require_parity([right], [wrong], "float32", "m")
