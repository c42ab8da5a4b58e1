"""Parity with transformers, one sequence at a time, in float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    PreTrainedConfig,
)

from reward_server.errors import BatchMemoryError, StartupError
from reward_server.network.forward import PaddedForward
from reward_server.network.model import IdLists, Reads, RewardModel, TypeLists
from reward_server.network.sequence import Rendered
from tests.reward_server.conftest import CONTEXT, EOS, PAD, SPECIALS, save_llama

VOCABULARY = len(SPECIALS) + 256
TOLERANCE = 1e-5

ordinary = st.integers(PAD + 1, VOCABULARY - 1)
any_token = st.integers(0, VOCABULARY - 1)
# Ends in an ordinary token: on a final padding id transformers itself reads elsewhere.
sequence = st.tuples(st.lists(any_token, max_size=CONTEXT - 1), ordinary).map(
    lambda t: [*t[0], t[1]]
)
batches = st.lists(sequence, min_size=1, max_size=32)
relaxed = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def one_at_a_time(path: Path, sequences: list[list[int]]) -> list[float]:
    net = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
    with torch.inference_mode():
        return [net(torch.tensor([ids])).logits.item() for ids in sequences]


@pytest.fixture(scope="module")
def model(llama: Path) -> RewardModel:
    return RewardModel.load(str(llama), device="cpu")


def test_it_knows_itself(model: RewardModel) -> None:
    assert model.pooling == "last_token"
    assert model.labels == ["LABEL_0"]
    assert model.context_limit == CONTEXT
    assert model.dtype == torch.float32
    assert model.device.type == "cpu"
    assert model.parameters == sum(p.numel() for p in model.net.parameters())
    model.check_padding()


@relaxed
@given(batches)
def test_a_batch_agrees_with_transformers_one_at_a_time(
    llama: Path, model: RewardModel, sequences: list[list[int]]
) -> None:
    expected = one_at_a_time(llama, sequences)
    assert model.score(sequences) == pytest.approx(expected, abs=TOLERANCE)


@relaxed
@given(batches, st.integers(1, 4 * CONTEXT))
def test_the_planned_batch_agrees_too(
    llama: Path, model: RewardModel, sequences: list[list[int]], budget: int
) -> None:
    batch = [Rendered(tuple(ids), 0) for ids in sequences]
    outputs = PaddedForward(model)(batch, budget).outputs
    assert [output[0] for output in outputs] == pytest.approx(
        one_at_a_time(llama, sequences), abs=TOLERANCE
    )


@pytest.mark.parametrize("count", [1, 2, 3, 8, 16, 31, 32])
def test_every_count_up_to_the_context_limit(llama: Path, model: RewardModel, count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    lengths = [1, CONTEXT, *torch.randint(1, CONTEXT + 1, (32,), generator=generator).tolist()]
    sequences = [
        torch.randint(1, VOCABULARY, (n,), generator=generator).tolist() for n in lengths[:count]
    ]
    expected = one_at_a_time(llama, sequences)
    assert model.score(sequences) == pytest.approx(expected, abs=TOLERANCE)


def test_a_final_padding_id_in_the_text_is_a_token_like_any_other(model: RewardModel) -> None:
    text, other = [9, 40, PAD, PAD], [7] * 20
    alone = model.score([text])[0]
    assert model.score([other, text])[1] == pytest.approx(alone, abs=TOLERANCE)
    # What a search for the padding id would read instead is another reward.
    assert abs(model.score([text[:2]])[0] - alone) > 100 * TOLERANCE


@pytest.mark.parametrize("shift", [-1, 1])
def test_reading_one_position_off_is_far_from_parity(
    llama: Path, model: RewardModel, shift: int
) -> None:
    class Shifted(RewardModel):
        def logits(
            self, sequences: IdLists, token_types: TypeLists = None, reads: Reads = None
        ) -> Tensor:
            most = max(map(len, sequences)) - 1
            moved = [[min(len(ids) - 1 + shift, most)] for ids in sequences]
            return super().logits(sequences, token_types, moved)

    sequences = [[5, 6, 7, 8, 9, 10], [30, 31, 32], [50, 51, 52, 53]]
    expected = one_at_a_time(llama, sequences)
    off = Shifted(model.net).score(sequences)
    moved = [abs(a - b) for a, b in zip(expected, off, strict=True)]
    assert min(moved[1:]) > 100 * TOLERANCE
    assert model.score(sequences) == pytest.approx(expected, abs=TOLERANCE)


def test_an_encoder_needs_its_attention_mask_and_segments(bert: Path) -> None:
    model = RewardModel.load(str(bert), device="cpu")
    model.check_padding()
    assert model.pooling == "model"
    sequences = [[1, 20, 21, 2, 30, 2], [1, 20, 21, 22, 2, 40, 41, 42, 2], [1, 2, 2]]
    types = [[0] * 4 + [1] * 2, [0] * 5 + [1] * 4, [0, 0, 1]]
    with torch.inference_mode():
        expected = [
            model.net(torch.tensor([ids]), token_type_ids=torch.tensor([kinds])).logits.item()
            for ids, kinds in zip(sequences, types, strict=True)
        ]
    assert model.score(sequences, types) == pytest.approx(expected, abs=TOLERANCE)
    without = model.score(sequences)
    assert max(abs(a - b) for a, b in zip(expected, without, strict=True)) > 100 * TOLERANCE


def test_several_labels_are_weighted(three_labels: Path) -> None:
    weights = {"helpful": 0.7, "short": -0.3}
    model = RewardModel.load(str(three_labels), device="cpu", label_weights=weights)
    sequences = [[5, 6, 7], [8, 9]]
    with torch.inference_mode():
        logits = [model.net(torch.tensor([ids])).logits[0].tolist() for ids in sequences]
    expected = [0.7 * helpful - 0.3 * short for helpful, _, short in logits]
    assert model.score(sequences) == pytest.approx(expected, abs=TOLERANCE)
    assert model.logits(sequences).shape == (2, 3)


@pytest.mark.parametrize("weights", [None, {"kind": 1.0}])
def test_several_labels_without_known_weights_are_refused(
    three_labels: Path, weights: dict[str, float] | None
) -> None:
    with pytest.raises(StartupError) as caught:
        RewardModel.load(str(three_labels), device="cpu", label_weights=weights)
    assert caught.value.key == "label_weights"
    assert "helpful, safe, short" in caught.value.reason


def test_a_pad_token_that_ends_texts_is_refused_unless_allowed(tmp_path: Path) -> None:
    save_llama(tmp_path, eos_token_id=[EOS, PAD])
    with pytest.raises(StartupError) as caught:
        RewardModel.load(str(tmp_path), device="cpu")
    assert caught.value.key == "allow_pad_eos"
    model = RewardModel.load(str(tmp_path), device="cpu", allow_pad_eos=True)
    assert len(model.score([[5, PAD], [5, 6, 7]])) == 2


def test_a_model_without_a_pad_token_is_batched_all_the_same(tmp_path: Path, llama: Path) -> None:
    save_llama(tmp_path, pad_token_id=None)
    model = RewardModel.load(str(tmp_path), device="cpu")
    sequences = [[5, 6, 7, 8], [0, 9], [3]]
    assert model.score(sequences) == pytest.approx(
        one_at_a_time(tmp_path, sequences), abs=TOLERANCE
    )


def test_a_checkpoint_without_a_scoring_head_is_refused(tmp_path: Path) -> None:
    config = LlamaConfig(  # type: ignore[call-arg]  # every config takes it
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, pad_token_id=0, num_labels=1,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(StartupError, match=r"lack score\.weight"):
        RewardModel.load(str(tmp_path), device="cpu")


@pytest.mark.parametrize(
    ("arguments", "key"),
    [({"device": "cuda:77"}, "device"), ({"dtype": "float31"}, "dtype")],
)
def test_what_the_machine_lacks_is_named(llama: Path, arguments: dict[str, Any], key: str) -> None:
    with pytest.raises(StartupError) as caught:
        RewardModel.load(str(llama), **arguments)
    assert caught.value.key == key


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as caught:
        RewardModel.load(str(tmp_path / "nothing"))
    assert caught.value.key == "model"


def test_scoring_is_without_dropout_and_leaves_training_mode_as_it_was(llama: Path) -> None:
    model = RewardModel.load(str(llama), device="cpu")
    expected = model.score([[5, 6, 7]])
    model.net.train()
    assert model.score([[5, 6, 7]]) == expected
    assert model.net.training
    assert model.logits([[5, 6, 7]]).requires_grad


def test_no_sequences_no_rewards(model: RewardModel) -> None:
    assert model.score([]) == []


class Exhausted(nn.Module):
    """A network on a device that is full."""

    base_model_prefix = "model"

    def __init__(self, config: PreTrainedConfig, error: Exception) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.zeros(1))
        self.error = error

    def forward(self, **inputs: Tensor) -> Any:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_full_device_has_an_error_of_its_own(error: Exception) -> None:
    net = Exhausted(AutoConfig.for_model("llama", num_labels=1), error)
    with pytest.raises(BatchMemoryError):
        RewardModel(net).score([[1, 2]])


def test_other_runtime_errors_pass_through() -> None:
    net = Exhausted(AutoConfig.for_model("llama", num_labels=1), RuntimeError("size mismatch"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        RewardModel(net).score([[1, 2]])


class PaddingReader(Exhausted):
    """Reads the last position of the batch, padding or not."""

    def __init__(self) -> None:
        super().__init__(
            AutoConfig.for_model("llama", num_labels=1, pad_token_id=0), RuntimeError()
        )
        self.embedding = nn.Embedding(32, 1)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, **inputs: Tensor) -> Any:
        class Output:
            logits = inputs["input_ids"][:, -1:].float()

        return Output


def test_an_architecture_that_reads_padding_is_refused() -> None:
    with pytest.raises(StartupError, match="padded batch"):
        RewardModel(PaddingReader()).check_padding()


DEMO = Path(__file__).parents[3] / "bon_gateway" / "demo_models" / "reward"


@pytest.mark.skipif(not DEMO.is_dir(), reason="the demo models are not in this tree")
def test_the_demo_reward_model_is_served_as_transformers_reads_it() -> None:
    model = RewardModel.load(str(DEMO), device="cpu")
    vocabulary = json.loads((DEMO / "config.json").read_text())["vocab_size"]
    generator = torch.Generator().manual_seed(0)
    sequences = [
        torch.randint(2, vocabulary, (n,), generator=generator).tolist()
        for n in [1, 7, 63, 200, model.context_limit or 1]
    ]
    assert model.score(sequences) == pytest.approx(one_at_a_time(DEMO, sequences), abs=TOLERANCE)
