"""`as_adapter`: the difference of a tuned model to its base, as an adapter of a given rank."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from bon_gateway.demo_models import policy_path
from tests.trainers.export.adapters import KINDS, adapted, logits
from trainers.base.context import RunContext
from trainers.base.errors import ModelError
from trainers.base.loading import load_pretrained
from trainers.export.difference import factors
from trainers.export.run import DIFFERENCE, export
from trainers.export.settings import ExportSettings
from trainers.runtime.lora import Task
from trainers.runtime.saving import save

KEPT = "share of the difference that is kept"
QUIET = RunContext("bon-train export", show=lambda text: None)
RANK = 4
"""Of the adapters that `adapted` makes."""


def export_adapter(model: Path, output: Path, base: Path, r: int, **more: object) -> Any:
    wanted = {"base": str(base), "r": r}
    settings = {"model": str(model), "output": output, "as_adapter": wanted, **more}
    return export(ExportSettings.model_validate(settings), QUIET)


@KINDS
def test_the_whole_difference_gives_the_same_outputs(
    tmp_path: Path, kind: Any, base: Callable[[], Path], task: Task
) -> None:
    adapted(kind, base(), task, tmp_path / "run")
    figures = export_adapter(tmp_path / "run", tmp_path / "thin", base(), RANK)
    assert figures[KEPT] == pytest.approx(1, abs=1e-6)
    assert figures[DIFFERENCE] <= 1e-4
    merged = load_pretrained(kind, tmp_path / "thin")
    whole = logits(kind.from_pretrained(tmp_path / "run"))
    assert torch.allclose(logits(merged), whole, atol=1e-4)
    assert not torch.allclose(logits(kind.from_pretrained(base())), whole, atol=0.1)
    if task == "SEQ_CLS":
        assert (tmp_path / "thin" / "README.md").is_file()


def test_a_lower_rank_keeps_the_largest_part(tmp_path: Path) -> None:
    adapted(AutoModelForCausalLM, policy_path(), "CAUSAL_LM", tmp_path / "run")
    kept = [
        export_adapter(tmp_path / "run", tmp_path / f"thin{r}", policy_path(), r)[KEPT]
        for r in (1, 2, 3)
    ]
    assert 0.25 < kept[0] < kept[1] < kept[2] < 1
    weights = load_file(tmp_path / "thin1" / "adapter_model.safetensors")
    assert all(1 in weight.shape for weight in weights.values())


def test_the_file_is_as_short_as_its_number_format(tmp_path: Path) -> None:
    adapted(AutoModelForCausalLM, policy_path(), "CAUSAL_LM", tmp_path / "run")
    figures = export_adapter(
        tmp_path / "run", tmp_path / "thin", policy_path(), RANK, dtype="bfloat16"
    )
    weights = load_file(tmp_path / "thin" / "adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    assert 0 < figures[DIFFERENCE] < 5e-2


def test_what_is_tuned_in_two_runs_is_one_adapter(tmp_path: Path) -> None:
    """A reward model on a policy that was itself tuned: the rank of the sum is that of both."""
    adapted(AutoModelForCausalLM, policy_path(), "CAUSAL_LM", tmp_path / "first")
    adapted(AutoModelForCausalLM, tmp_path / "first", "CAUSAL_LM", tmp_path / "second")
    figures = export_adapter(tmp_path / "second", tmp_path / "thin", policy_path(), 2 * RANK)
    assert figures[KEPT] == pytest.approx(1, abs=1e-6)


def test_factors_are_the_nearest_of_their_rank() -> None:
    matrix = torch.diag(torch.tensor([4.0, 2.0, 1.0]))[:, :2]
    up, down = factors(matrix, 1)
    assert torch.allclose(up @ down, torch.tensor([[4.0, 0], [0, 0], [0, 0]]), atol=1e-6)
    assert float(up.norm()) == pytest.approx(2)
    up, down = factors(matrix, 5)  # more than it has: the rest is 0
    assert (up.shape, down.shape) == ((3, 5), (5, 2))
    assert torch.allclose(up @ down, matrix, atol=1e-6)


def test_what_no_adapter_holds_is_refused(tmp_path: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(policy_path())
    model = AutoModelForCausalLM.from_pretrained(policy_path())
    with torch.no_grad():
        model.model.norm.weight.mul_(2)
    save(model, tokenizer, tmp_path / "norm")
    with pytest.raises(ModelError, match=r"model\.norm\.weight differs from"):
        export_adapter(tmp_path / "norm", tmp_path / "thin", policy_path(), 4)
    with pytest.raises(ModelError, match="equal to"):
        export_adapter(policy_path(), tmp_path / "thin", policy_path(), 4)
    config = json.loads((policy_path() / "config.json").read_text())
    small = AutoModelForCausalLM.from_config(
        type(model.config)(**{**config, "num_hidden_layers": 1, "intermediate_size": 32})
    )
    save(small, tokenizer, tmp_path / "small")
    with pytest.raises(ModelError, match="has no like in"):
        export_adapter(policy_path(), tmp_path / "thin", tmp_path / "small", 4)
    assert not (tmp_path / "thin").exists()
