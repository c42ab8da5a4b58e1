from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.conftest import Serve
from tests.trainers.runtime.helpers import (
    RESUME,
    START,
    assert_equal_weights,
    largest_difference,
    logs,
    weights,
)
from tests.trainers.scoring_service import Start, reward_server
from tests.trainers.small import policy_path, reward_path
from trainers.base.context import RunContext
from trainers.base.data import Conversation, Message
from trainers.base.errors import DataError, RunError, SettingsError
from trainers.base.settings import load_settings, shipped
from trainers.base.thinking import ThinkingMarks
from trainers.grpo.rewards import RewardFunction
from trainers.grpo.run import train_grpo
from trainers.grpo.settings import GrpoSettings
from trainers.grpo.trainer import GroupOrder
from trainers.rewards.one import score
from trainers.rewards.scorer import RewardScorer

MakeSettings = Callable[..., GrpoSettings]
PROMPT = [Message(role="user", content="name two toys for a bear")]
ANSWERS = ["Try ball and kite.", "Ugh.", "Hello, dear! Try ball and kite. Enjoy!"]


@pytest.fixture
def prompts(world: Path, tmp_path: Path) -> Path:
    """6 prompts."""
    lines = (world / "prompts.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "prompts.jsonl").write_text("".join(lines[:6]))
    return tmp_path / "prompts.jsonl"


@pytest.fixture
def settings(prompts: Path, tmp_path: Path) -> MakeSettings:
    """Settings of a run of 6 updates, 3 to an epoch; `output` is a name in the test's folder."""

    def make(output: str = "out", **changes: object) -> GrpoSettings:
        values: dict[str, object] = {
            "model": policy_path(),
            "reward": reward_path(),
            "train": prompts,
            "output": tmp_path / output,
            "batch_size": 8,
            "group_size": 4,
            "max_new_tokens": 24,
            "max_steps": 6,
            "learning_rate": 1e-3,
            "log_every": 1,
        }
        return GrpoSettings.model_validate(values | changes)

    return make


def reward_function(no_eos_reward: float | None = None) -> RewardFunction:
    return RewardFunction(
        RewardScorer.load(reward_path(), batch_size=2),
        [Conversation(PROMPT)],
        ends=frozenset({1}),
        no_eos_reward=no_eos_reward,
    )


def ask(subject: RewardFunction, ids: list[list[int]]) -> list[float]:
    rewards: Any = subject(
        prompts=["0"] * 3, completions=ANSWERS, completion_ids=ids, trainer_state=None
    )
    return list(rewards)


def test_rewards_are_those_that_are_served() -> None:
    conversations = [Conversation(PROMPT).said(text) for text in ANSWERS]
    expected = score(reward_path(), conversations, 1)
    assert ask(reward_function(), [[7, 1]] * 3) == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == 3


def test_what_the_policy_thought_is_not_judged() -> None:
    scorer = RewardScorer.load(reward_path(), batch_size=2)

    def judged(text: str, thinking: ThinkingMarks | None) -> Any:
        subject = RewardFunction(
            scorer,
            [Conversation(PROMPT)],
            ends=frozenset({1}),
            no_eos_reward=None,
            thinking=thinking,
        )
        return subject(prompts=["0"], completions=[text], completion_ids=[[1]])

    thinking = f"<think>Ugh.</think>{ANSWERS[0]}"
    assert judged(thinking, ThinkingMarks()) == judged(ANSWERS[0], None)
    assert judged(thinking, None) != judged(ANSWERS[0], None)


def test_a_reward_behind_a_server_trains_as_its_folder_does(
    settings: MakeSettings, start_app: Start
) -> None:
    url = start_app(reward_server(reward_path()))
    here = settings("here", max_steps=2)
    there = settings("there", max_steps=2, reward={"type": "reward_server", "url": url})
    train_grpo(here, START)
    train_grpo(there, START)
    found, expected = logs(there.output), logs(here.output)
    assert [one["reward"] for one in found] == pytest.approx(
        [one["reward"] for one in expected], abs=1e-4
    )
    assert largest_difference(here.output, there.output) < 1e-4


def test_a_server_that_is_down_is_named_before_anything_is_trained(
    settings: MakeSettings,
) -> None:
    reward = {"type": "reward_server", "url": "http://127.0.0.1:1", "retries": 0}
    with pytest.raises(RunError, match=r"http://127\.0\.0\.1:1/v1/score"):
        train_grpo(settings(reward=reward), RunContext("test", dry_run=True, show=lambda _: None))


def test_only_cut_answers_get_the_reward_of_cut_answers() -> None:
    plain = ask(reward_function(), [[7, 1]] * 3)
    changed = ask(reward_function(-9.0), [[7, 1], [7, 8], [1]])
    assert changed == [plain[0], -9.0, plain[2]]


def test_a_resumed_run_equals_one_that_was_never_cut(settings: MakeSettings) -> None:
    """Its reference is the model of before again. That an adapter comes back too, the runtime's
    tests hold."""
    whole = settings("whole", save_every=4)
    train_grpo(whole, START)
    cut = settings("cut", save_every=4)
    shutil.copytree(whole.output, cut.output)
    # As if killed after the fourth update.
    shutil.rmtree(cut.output / "checkpoints" / "checkpoint-6")
    (cut.output / "model.safetensors").unlink()
    train_grpo(cut, RESUME)
    assert_equal_weights(whole.output, cut.output)
    assert [entry["reward"] for entry in logs(cut.output)] == [
        entry["reward"] for entry in logs(whole.output)
    ]


def test_the_first_update_is_on_policy(settings: MakeSettings, prompts: Path) -> None:
    one = settings(max_steps=2, eval_prompts=prompts)
    figures = train_grpo(one, START)
    first = logs(one.output)[0]
    # The advantages of a group add up to nothing, and every ratio is 1.
    assert first["clip_ratio/region_mean"] == 0
    assert first["kl"] == pytest.approx(0, abs=1e-5)
    assert first["grad_norm"] > 0
    assert math.isfinite(figures["KL to the reference (nats an answer)"])
    assert figures["reward on held-out prompts"] != 0
    assert "group relative" in (one.output / "README.md").read_text()


def test_the_reward_rises(settings: MakeSettings) -> None:
    one = settings(batch_size=32, max_steps=20, group_size=8, beta=0.0)
    train_grpo(one, START)
    rewards = [entry["reward"] for entry in logs(one.output)]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.3


def test_order_is_a_function_of_seed_and_epoch() -> None:
    def order(epoch: int, seed: int = 0) -> list[int]:
        options = {"mini_repeat_count": 2, "batch_size": 4, "repeat_count": 1}
        return list(GroupOrder(seed, lambda: epoch, data_source=list(range(8)), **options))

    assert order(0) == order(0)
    assert order(1) != order(0) != order(0, seed=1)
    assert sorted(order(1)) == sorted([*range(8)] * 2)
    assert all(a == b for a, b in zip(order(1)[::2], order(1)[1::2], strict=True))


def test_dry_run_writes_nothing(settings: MakeSettings) -> None:
    one = settings()
    shown: list[str] = []
    assert train_grpo(one, RunContext("bon-train grpo", dry_run=True, show=shown.append)) == {}
    assert shown[0] == "prompts: 6, dropped as too long: 0"
    first = json.loads(one.train.read_text().splitlines()[0])["prompt"][-1]["content"]
    assert f"{first}<eos><|assistant|>" in shown[1]
    assert not one.output.exists()


def test_long_prompts_are_counted_or_refused(settings: MakeSettings) -> None:
    with pytest.raises(DataError, match="every prompt exceeds max_length - max_new_tokens, 2"):
        train_grpo(settings(max_length=26), START)


def test_a_reward_that_is_no_number_ends_the_run() -> None:
    subject = reward_function()
    assert isinstance(subject._scorer, RewardScorer)
    [(scorer, _, _)] = subject._scorer.members
    head = scorer.model.net.get_parameter("score.weight")
    head.requires_grad_(False).fill_(math.nan)
    with pytest.raises(RunError, match="the reward model answered nan"):
        ask(subject, [[7, 1]] * 3)


@pytest.mark.parametrize("name", ["demo-grpo.yaml", "qwen-grpo.yaml"])
def test_shipped_files_are_valid(name: str) -> None:
    assert load_settings(GrpoSettings, shipped(name)).group_size == 8


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["batch_size=100"], "batch_size: a multiple of group_size, 8, is needed"),
        (["max_new_tokens=256"], "max_new_tokens: less than max_length is needed"),
        (
            ["save_every=5", "updates_per_batch=2"],
            "save_every: a multiple of updates_per_batch, 2, is needed",
        ),
    ],
)
def test_what_does_not_fit_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(GrpoSettings, shipped("demo-grpo.yaml"), overrides)
    assert f"--set: {message}" in str(error.value)


def test_weights_change_through_an_adapter(settings: MakeSettings) -> None:
    one = settings(max_steps=1, lora={"r": 4})
    train_grpo(one, START)
    assert (one.output / "adapter").is_dir()
    before = weights(policy_path())
    after = weights(one.output)
    assert any((after[name] != before[name]).any() for name in after)


def test_passes_of_an_update_add_up_to_it(settings: MakeSettings) -> None:
    """Answers differ in length, so a mean of the passes' means would not do."""
    whole, parts = settings("whole", max_steps=2), settings("parts", max_steps=2, accumulate=4)
    for one in (whole, parts):
        train_grpo(one, START)
    for mine, other in zip(logs(whole.output), logs(parts.output), strict=True):
        assert other["reward"] == pytest.approx(mine["reward"], abs=1e-4)
        assert other["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-3)
    assert largest_difference(whole.output, parts.output) < 1e-4


def test_fewer_prompts_than_an_update_needs(settings: MakeSettings, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text('{"prompt": "name two toys for a bear"}\n')
    with pytest.raises(DataError, match=r"few\.jsonl: an update needs 2 prompts .*there are 1"):
        train_grpo(settings(train=few, batch_size=8, group_size=4), START)


def test_a_verifier_gets_the_metadata_of_each_prompt(
    settings: MakeSettings, prompts: Path, serve: Serve
) -> None:
    lines = [json.loads(line) for line in prompts.read_text().splitlines()]
    lines = [line | {"metadata": {"reference": str(n)}} for n, line in enumerate(lines)]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    upstream = serve()
    reward = {"type": "reward_server", "url": upstream.url}
    train_grpo(settings(reward=reward, max_steps=2), START)
    expected = {json.dumps(line["prompt"]): line["metadata"] for line in lines}
    items = [item for call in upstream.calls for item in call.body["items"]]
    assert len(items) == 4  # two prompts an update
    for item in items:
        assert item["metadata"] == expected[json.dumps(item["messages"])]
        assert len(item["completions"]) == 4
