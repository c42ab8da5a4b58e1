from __future__ import annotations

import asyncio
import json
import math
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from reward_server.errors import (
    ContextLengthError,
    DeadlineError,
    InvalidRequestError,
    NonFiniteRewardError,
    RenderError,
    StartupError,
    TooManySequencesError,
)
from reward_server.model_settings import ModelSettings
from reward_server.network.model import RewardModel
from reward_server.network.sequence import Rendered
from reward_server.schema import ScoreItem
from reward_server.scoring.scorer import ScoreOptions, Scorer
from reward_server.testing import FakeForward, answer_length, answer_of, fake_scorer
from tests.reward_server.conftest import CONTEXT, save_llama
from tests.waiting import eventually


def item(*completions: str | dict[str, Any], prompt: str = "q") -> ScoreItem:
    return ScoreItem(messages=[{"role": "user", "content": prompt}], completions=list(completions))


@asynccontextmanager
async def opened(scorer: Scorer) -> AsyncIterator[Scorer]:
    await scorer.start()
    try:
        yield scorer
    finally:
        await scorer.close()


def fake(forward: FakeForward, **settings: Any) -> Scorer:
    return fake_scorer(ModelSettings(model="fake", **settings), forward=forward)


async def test_rewards_follow_the_order_of_items_and_completions() -> None:
    async with opened(fake(FakeForward())) as scorer:
        result = await scorer.score([item("abc", "a", ""), item("ab")])
        assert [r.rewards for r in result.results] == [[3.0, 1.0, 0.0], [2.0]]
        assert result.results[0].truncated == [False] * 3
        assert result.results[0].tokens == [len("<user:q><assistant:>") + n for n in (3, 1, 0)]


async def test_equal_candidates_of_an_item_are_computed_once() -> None:
    forward = FakeForward()
    async with opened(fake(forward)) as scorer:
        result = await scorer.score([item("a", "b", "a", {"content": "a"})])
        assert sorted(answer_of(s) for s in forward.batches[0]) == ["a", "b"]
        assert result.usage.sequences == 2
        assert len(result.results[0].rewards) == 4


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([], "items"),
        ([item()], "items[0].completions"),
        ([item("a"), ScoreItem(messages=[], completions=["a"])], "items[1].messages"),
    ],
)
async def test_empty_lists_are_refused(items: list[ScoreItem], param: str) -> None:
    async with opened(fake(FakeForward())) as scorer:
        with pytest.raises(InvalidRequestError) as caught:
            await scorer.score(items)
        assert caught.value.param == param


async def test_what_cannot_be_rendered_is_named_with_its_item() -> None:
    async with opened(fake(FakeForward())) as scorer:
        with pytest.raises(RenderError) as caught:
            await scorer.score([item("a"), item({"role": "user"})])
        assert caught.value.param == "items[1].completions[0].role"


async def test_the_length_policy_is_the_settings_unless_the_caller_says() -> None:
    async with opened(fake(FakeForward(), max_tokens=30)) as scorer:
        long = [item("answer", prompt="p" * 30)]
        with pytest.raises(ContextLengthError):
            await scorer.score(long)
        result = await scorer.score(long, ScoreOptions(on_overflow="truncate_prompt"))
        assert result.results[0].truncated == [True]
        assert result.results[0].tokens == [30]
        with pytest.raises(ContextLengthError) as caught:
            await scorer.score([item("a", "b" * 40)], ScoreOptions(on_overflow="truncate_prompt"))
        assert caught.value.param == "items[0].completions[1]"


@pytest.mark.parametrize("length", [30, 10_000])
async def test_a_prompt_that_no_answer_fits_behind_is_named_itself(length: int) -> None:
    """Whether its tokens were counted or its characters told enough."""
    async with opened(fake(FakeForward(), max_tokens=30)) as scorer:
        with pytest.raises(ContextLengthError) as caught:
            await scorer.score([item("a", prompt="ok"), item("a", "b", prompt="p" * length)])
        assert caught.value.param == "items[1].messages"


async def test_a_reward_does_not_depend_on_its_neighbours_even_when_cut() -> None:
    seen = FakeForward()
    async with opened(fake(seen, max_tokens=30, on_overflow="truncate_prompt")) as scorer:
        await scorer.score([item("a", "a" * 15, prompt="p" * 20)])
        await scorer.score([item("a", prompt="p" * 20)])
    together, alone = ({s.ids for s in batch} for batch in seen.batches)
    assert alone < together


async def test_a_deadline_takes_the_work_out_of_the_queue() -> None:
    forward = FakeForward()
    async with opened(fake(forward)) as scorer:
        forward.gate.clear()
        first = asyncio.create_task(scorer.score([item("first")]))
        await eventually(lambda: bool(forward.batches))
        with pytest.raises(DeadlineError):
            await scorer.score([item("late")], ScoreOptions(deadline_s=0.05))
        forward.gate.set()
        await first
        await scorer.score([item("last")])
        assert [[answer_of(s) for s in batch] for batch in forward.batches] == [["first"], ["last"]]


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
async def test_a_reward_that_is_not_a_number_fails_its_request_only(reward: float) -> None:
    def sometimes(sequence: Rendered) -> float:
        return reward if answer_of(sequence) == "bad" else answer_length(sequence)

    forward = FakeForward(sometimes)
    async with opened(fake(forward)) as scorer:
        with pytest.raises(NonFiniteRewardError) as caught:
            await scorer.score([item("good", "bad")])
        assert caught.value.param == "items[0].completions[1]"
        assert (await scorer.score([item("good")])).results[0].rewards == [4.0]


async def test_more_candidates_than_the_queue_holds_are_refused_before_rendering() -> None:
    async with opened(fake(FakeForward(), max_queue_sequences=2)) as scorer:
        with pytest.raises(TooManySequencesError):
            await scorer.score([item("a", "a", "a")])


async def test_a_loaded_model_scores_as_transformers_does(llama: Path) -> None:
    async with opened(Scorer.load(ModelSettings(model=str(llama), device="cpu"))) as scorer:
        await scorer.warm_up()
        answers = ["four", "", "4" * 40, "é\n\u2603"]
        result = await scorer.score([item(*answers, prompt="2+2?")])
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llama)
    net = AutoModelForSequenceClassification.from_pretrained(llama, dtype=torch.float32).eval()
    for answer, reward in zip(answers, result.results[0].rewards, strict=True):
        conversation = [
            {"role": "user", "content": "2+2?"},
            {"role": "assistant", "content": answer},
        ]
        ids: Any = tokenizer.apply_chat_template(
            conversation, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            assert reward == pytest.approx(net(ids["input_ids"]).logits.item(), abs=1e-5)


async def test_an_encoder_scores_pairs_as_transformers_does(bert: Path) -> None:
    async with opened(Scorer.load(ModelSettings(model=str(bert), device="cpu"))) as scorer:
        assert scorer.info.pooling == "model"
        result = await scorer.score([item("four", "", "a longer one", prompt="2+2?")])
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bert)
    net = RewardModel.load(str(bert), device="cpu").net
    for answer, reward in zip(["four", "", "a longer one"], result.results[0].rewards, strict=True):
        with torch.inference_mode():
            # As lists: a lone empty string would be taken for no second text at all.
            logits = net(**tokenizer(["2+2?"], [answer], return_tensors="pt")).logits
        assert reward == pytest.approx(logits.item(), abs=1e-5)


async def test_an_answer_at_the_context_limit_is_scored(llama: Path) -> None:
    async with opened(Scorer.load(ModelSettings(model=str(llama), device="cpu"))) as scorer:
        assert scorer.info.max_tokens == CONTEXT
        around = len("<s><|user|>q</s><|assistant|></s>") - len("<s><|user|></s><|assistant|></s>")
        room = CONTEXT - around - 5
        result = await scorer.score([item("x" * room, "y")])
        assert result.results[0].tokens[0] == CONTEXT
        with pytest.raises(ContextLengthError):
            await scorer.score([item("x" * (room + 1))])


def test_what_the_model_does_not_allow_stops_the_start(llama: Path, tmp_path: Path) -> None:
    def key_of(**settings: Any) -> str:
        with pytest.raises(StartupError) as caught:
            Scorer.load(ModelSettings(**{"model": str(llama), "device": "cpu", **settings}))
        return caught.value.key

    assert key_of(max_tokens=CONTEXT + 1) == "max_tokens"
    assert key_of(chat_template=tmp_path / "missing.jinja") == "chat_template"
    bare = save_llama(tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    assert key_of(model=str(bare)) == "chat_template"
    (bare / "tokenizer.json").unlink()
    (bare / "tokenizer_config.json").unlink()
    assert key_of(model=str(bare)) == "model"


def test_a_template_file_and_the_trainers_notes_are_read(llama: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(llama, tmp_path / "model"))
    (folder / "rm_meta.json").write_text(json.dumps({"normalisation": {"mean": 0.5, "std": 2.0}}))
    template = tmp_path / "own.jinja"
    template.write_text("{{ messages[-1].content }}")
    scorer = Scorer.load(
        ModelSettings(
            model=str(folder), device="cpu", chat_template=template, served_model_name="mine"
        )
    )
    assert scorer.info.normalisation == {"mean": 0.5, "std": 2.0}
    assert scorer.info.name == "mine"
    (folder / "rm_meta.json").write_text("[")
    with pytest.raises(StartupError):
        Scorer.load(ModelSettings(model=str(folder), device="cpu"))


async def test_small_conversations_do_not_wait_for_one_that_must_be_tokenised(
    tmp_path: Path,
) -> None:
    """Nothing but its tokens tells that this text is too long."""
    demo = Path(__file__).parents[3] / "bon_gateway" / "demo_models" / "reward"
    folder = Path(shutil.copytree(demo, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 200_000}))
    long = [item("a", prompt="a long story of bears and balls " * 30_000)]
    shares: list[float] = []
    async with opened(Scorer.load(ModelSettings(model=str(folder), device="cpu"))) as scorer:
        await scorer.warm_up()
        while len(shares) < 3 and min(shares, default=1.0) > 0.4:  # the machine is busy with others
            begun = time.monotonic()
            large = asyncio.create_task(scorer.score(long))
            await asyncio.sleep(0)
            waits = []
            while not large.done():
                asked = time.monotonic()
                await scorer.score([item("a", "b")])
                waits.append(time.monotonic() - asked)
            with pytest.raises(ContextLengthError, match="tokens long"):
                await large
            shares.append(max(waits) / (time.monotonic() - begun))
    # Behind the large one a small one would wait for nearly all of that time.
    assert min(shares) < 0.5, shares
