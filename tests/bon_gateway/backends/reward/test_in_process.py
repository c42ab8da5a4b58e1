from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from bon_gateway import demo_models
from bon_gateway.backends.reward.in_process import InProcessReward
from bon_gateway.backends.reward.in_process_settings import InProcessRewardSettings
from bon_gateway.errors import RewardError, RewardRefusedError
from bon_gateway.protocols import RewardBackend, Trace
from bon_gateway.strategies.best_of_n import BestOfN, BestOfNSettings
from bon_gateway.testing.fakes import Act, FakePolicy, completion
from bon_gateway.types import ChatRequest, RewardRequest
from reward_server.errors import ModelFailureError, QueueFullError
from tests.bon_gateway.backends.policy.embedded.kit import EOS, SIZES, save_tokenizer
from tests.waiting import until

PROMPT = [{"role": "user", "content": "hi"}]
CONTEXT = 64


def answers(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text} for text in texts]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-reward")
    save_tokenizer(folder)
    config = LlamaConfig(
        **SIZES,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=EOS,
        bos_token_id=None,
    )
    config.num_labels = 1
    torch.manual_seed(5)
    model = LlamaForSequenceClassification(config)
    model.save_pretrained(folder)
    return folder


def backend(folder: Path, **options: Any) -> InProcessReward:
    settings = InProcessRewardSettings(type="in_process", model=str(folder), device="cpu")
    return InProcessReward(settings, **options)


class Scripted:
    """A scorer that raises what it is told to."""

    def __init__(
        self, error: Exception | None = None, warm_up_error: Exception | None = None
    ) -> None:
        self._error = error
        self._warm_up_error = warm_up_error
        self.closed = False

    async def start(self) -> None: ...

    async def close(self) -> None:
        self.closed = True

    async def warm_up(self) -> None:
        if self._warm_up_error is not None:
            raise self._warm_up_error

    async def score(self, items: list[Any]) -> Any:
        assert self._error is not None
        raise self._error


async def test_rewards_are_the_models_raw_outputs_in_order(folder: Path) -> None:
    reward: RewardBackend = backend(folder)
    await reward.start()
    await until(reward.ready)
    texts = ["yes", "no, and a longer one", "", "yes"]
    scores = await reward.score(RewardRequest(PROMPT), answers(*texts))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected, tokens = [], 0
    for text in texts:
        ids = tokenizer(f"<|user|>hi</s><|assistant|>{text}</s>", return_tensors="pt").input_ids
        tokens += ids.shape[1]
        with torch.inference_mode():
            expected.append(float(model(ids).logits[0, 0]))
    assert scores.rewards == pytest.approx(expected, abs=1e-4)
    assert len(set(expected)) == 3
    assert scores.tokens == tokens
    await reward.close()


async def test_labels_are_the_models_outputs(folder: Path, tmp_path: Path) -> None:
    """The labels of a model with two, whose reward is a weighted sum."""
    save_tokenizer(tmp_path)
    config = LlamaConfig.from_pretrained(folder)
    config.num_labels = 2
    config.id2label = {0: "true", 1: "kind"}
    torch.manual_seed(6)
    LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    weighed = [{"name": "true", "weight": 2.0}, {"name": "kind", "weight": -1.0}]
    (tmp_path / "rm_meta.json").write_text(json.dumps({"dimensions": weighed}))
    reward = backend(tmp_path)
    await reward.start()
    await until(reward.ready)
    scores = await reward.score(RewardRequest(PROMPT), answers("yes", "no"))
    await reward.close()
    assert scores.labels is not None
    for joint, labels in zip(scores.rewards, scores.labels, strict=True):
        assert joint == pytest.approx(2 * labels["true"] - labels["kind"], abs=1e-4)
    assert len({labels["kind"] for labels in scores.labels}) == 2


@pytest.mark.parametrize("label", ["nice", "LABEL_0"])
async def test_a_model_without_a_label_that_is_read_does_not_come_up(
    folder: Path, caplog: pytest.LogCaptureFixture, label: str
) -> None:
    """Its single number has a name too, which no answer shows."""
    settings = InProcessRewardSettings(type="in_process", model=str(folder), device="cpu")
    reward = settings.build_reading(lambda _: None, [label])
    await reward.start()
    await until(lambda: not reward.warming())
    assert not reward.ready()
    assert f"it has no label '{label}', which an ensemble reads; it has none" in caplog.text
    await reward.close()


async def test_no_completions_need_no_model(folder: Path) -> None:
    scores = await backend(folder).score(RewardRequest(PROMPT), [])
    assert (scores.rewards, scores.tokens) == ((), 0)


async def test_what_cannot_be_scored_is_a_reward_error(folder: Path) -> None:
    reward = backend(folder)
    await reward.start()
    await until(reward.ready)
    image = [{"role": "user", "content": [{"type": "image_url"}]}]
    for messages, completions in (
        (PROMPT, answers("x" * CONTEXT)),
        (image, answers("x")),
        ([{"role": "nobody", "content": ""}], answers("x")),
        ([], answers("x")),
    ):
        with pytest.raises(RewardRefusedError) as caught:
            await reward.score(RewardRequest(messages), completions)
        assert (caught.value.status, caught.value.code) == (422, "reward_refused")
    await reward.score(RewardRequest(PROMPT), answers("still there"))
    await reward.close()


async def test_best_of_n_is_told_which_answer_cannot_be_scored(folder: Path) -> None:
    """The names in the scorer's own refusals, which the reward server's answers bear too."""
    reward = backend(folder)
    await reward.start()
    await until(reward.ready)
    outcomes = [completion("x" * CONTEXT), completion("yes"), completion("no")]
    policy = FakePolicy({i: Act((outcome,)) for i, outcome in enumerate(outcomes)})
    strategy = BestOfN(BestOfNSettings(type="best_of_n", n=3))
    request = ChatRequest(PROMPT, {}, None, 1, "request")
    selection = await strategy.run(request, policy, reward, Trace())
    assert [c.reward is None for c in selection.candidates] == [True, False, False]
    assert selection.degraded == ("reward_refused",)
    narrator = ChatRequest([{"role": "narrator", "content": "x"}], {}, None, 1, "request")
    error = BestOfN(BestOfNSettings(type="best_of_n", n=3, fallback="error"))
    with pytest.raises(RewardRefusedError) as caught:
        await error.run(narrator, policy, reward, Trace())
    assert (caught.value.param, caught.value.answer) == ("messages", None)
    await reward.close()


async def test_what_a_template_refuses_of_one_answer_is_about_that_answer(folder: Path) -> None:
    reward = backend(folder)
    await reward.start()
    await until(reward.ready)
    with pytest.raises(RewardRefusedError) as caught:
        await reward.score(
            RewardRequest(PROMPT), [*answers("fine"), {"role": "assistant", "tool_calls": "f"}]
        )
    assert caught.value.answer == 1
    await reward.close()


@pytest.mark.parametrize(
    ("error", "code", "retry_after"),
    [
        (ModelFailureError("the model failed"), "reward_unavailable", 1.0),
        (QueueFullError("full", retry_after_s=7), "reward_overloaded", 7),
    ],
)
async def test_the_scorers_failures_are_reward_errors(
    folder: Path, error: Exception, code: str, retry_after: float
) -> None:
    scorer: Any = Scripted(error)
    reward = backend(folder, load=lambda _: scorer)
    await reward.start()
    await until(reward.ready)
    with pytest.raises(RewardError) as caught:
        await reward.score(RewardRequest(PROMPT), answers("x"))
    assert (caught.value.code, caught.value.retry_after) == (code, retry_after)
    await reward.close()
    assert scorer.closed


async def test_until_it_is_loaded_it_says_so(folder: Path) -> None:
    gate = threading.Event()
    scorer: Any = Scripted()

    def load(_: object) -> Any:
        gate.wait(10)
        return scorer

    reward = backend(folder, load=load)
    await reward.start()
    assert (reward.ready(), reward.health()) == (False, {folder.name: "warming"})
    with pytest.raises(RewardError, match="is being loaded"):
        await reward.score(RewardRequest(PROMPT), answers("x"))
    gate.set()
    await until(reward.ready)
    assert reward.health() == {folder.name: "up"}
    await reward.close()
    assert reward.health() == {folder.name: "ejected"}
    with pytest.raises(RewardError, match="not available"):
        await reward.score(RewardRequest(PROMPT), answers("x"))


async def test_closing_does_not_wait_for_a_load(folder: Path) -> None:
    gate = threading.Event()
    reward = backend(folder, load=lambda _: gate.wait(10))
    await reward.start()
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await reward.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gate.set()


async def test_a_model_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reward = backend(tmp_path / "nowhere")
    await reward.start()
    await until(lambda: "warming" not in reward.health().values())
    assert reward.health() == {"nowhere": "ejected"}
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].startswith("reward model nowhere cannot be loaded: ")
    assert "\n" not in errors[0]
    await reward.close()


async def test_a_model_that_fails_its_first_score_is_not_up(folder: Path) -> None:
    scorer: Any = Scripted(warm_up_error=ModelFailureError("no"))
    reward = backend(folder, load=lambda _: scorer)
    await reward.start()
    await until(lambda: "warming" not in reward.health().values())
    assert not reward.ready()
    await reward.close()
    assert scorer.closed


async def test_closing_leaves_nothing_behind(folder: Path) -> None:
    before = set(threading.enumerate())
    reward = backend(folder)
    await reward.start()
    await until(reward.ready)
    await reward.score(RewardRequest(PROMPT), answers("x"))
    await reward.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await until(lambda: not set(threading.enumerate()) - before)


async def test_the_demo_reward_model_scores() -> None:
    reward = backend(demo_models.reward_path())
    await reward.start()
    await until(reward.ready)
    scores = await reward.score(RewardRequest(PROMPT), answers("Hello!", "Go away."))
    assert len(set(scores.rewards)) == 2
    await reward.close()


BOTH = """
import asyncio, sys
from bon_gateway.backends.policy.embedded.policy import TransformersPolicy
from bon_gateway.backends.reward.in_process import InProcessReward
from bon_gateway.backends.reward.in_process_settings import InProcessRewardSettings
from bon_gateway.backends.policy.embedded.settings import TransformersPolicySettings

async def main(policy_folder, reward_folder):
    backends = (
        TransformersPolicy(TransformersPolicySettings(type="transformers", model=policy_folder)),
        InProcessReward(InProcessRewardSettings(type="in_process", model=reward_folder)),
    )
    for backend in backends:
        await backend.start()
    while any("warming" in backend.health().values() for backend in backends):
        await asyncio.sleep(0.01)
    up = all(backend.ready() for backend in backends)
    for backend in backends:
        await backend.close()
    return not up

sys.exit(asyncio.run(main(*sys.argv[1:])))
"""


def test_policy_and_reward_model_can_be_loaded_together() -> None:
    """In a fresh process, where both find the libraries not imported yet."""
    folders = [str(demo_models.policy_path()), str(demo_models.reward_path())]
    ran = subprocess.run(
        [sys.executable, "-c", BOTH, *folders], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
