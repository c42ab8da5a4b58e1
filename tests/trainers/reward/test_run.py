from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bon_common.ensemble import Combine, combine
from reward_server.network.model import RewardModel
from reward_server.scoring.render import Renderer
from tests.trainers.reward.conftest import PROMPT, START, TEXTS, MakeSettings
from tests.trainers.runtime.helpers import assert_equal_weights, full_disk, logs
from tests.trainers.small import policy_path
from trainers.base.context import RunContext
from trainers.base.data import Conversation, data_hash
from trainers.base.errors import DataError, ModelError, RunError
from trainers.reward.run import run, train_reward
from trainers.rewards.ensemble import read_ensemble
from trainers.rewards.meta import read_meta, template_hash
from trainers.rewards.one import OneModel, render, score
from trainers.rewards.scorer import RewardScorer

WEIGHTS = {"helpful": 1.0, "short": 0.5}
ASKED: Any = PROMPT
CONVERSATIONS = [Conversation(ASKED).said(text) for text in TEXTS]


@pytest.mark.parametrize(
    ("train", "changes"),
    [
        ("margins", {"margin_weight": 0.5}),
        ("rankings", {"objective": "listwise"}),
        ("rankings", {"objective": "all_pairs"}),
        ("scores", {"objective": "regression"}),
        ("dimension-lists", {"objective": "listwise", "dimensions": WEIGHTS}),
        ("dimension-lists", {"objective": "all_pairs", "dimensions": WEIGHTS}),
    ],
)
def test_each_objective_lowers_its_loss(
    settings: MakeSettings, train: str, changes: dict[str, Any]
) -> None:
    batch = 4 if train == "scores" else 24
    run = settings(train=train, batch_size=batch, max_steps=20, **changes)
    train_reward(run, START)
    losses = [entry["loss"] for entry in logs(run.output)]
    assert losses[-1] < 0.7 * losses[0]


def test_a_ranking_is_learnt(settings: MakeSettings) -> None:
    run = settings(train="rankings", objective="listwise", max_steps=20)
    train_reward(run, START)
    rewards = score(run.output, CONVERSATIONS, 2)
    assert rewards == sorted(rewards, reverse=True)
    meta = read_meta(run.output)
    assert meta is not None
    assert meta.answers_per_prompt == 4


def test_the_meta_file_says_what_the_rewards_are(settings: MakeSettings) -> None:
    run = settings(max_steps=2)
    train_reward(run, START)
    meta = read_meta(run.output)
    assert meta is not None
    tokenizer = AutoTokenizer.from_pretrained(policy_path())
    lines = [json.loads(line) for line in run.train.read_text().splitlines()]
    rewards = score(
        run.output,
        [Conversation(line["prompt"] + line[s]) for line in lines for s in ("chosen", "rejected")],
        48,
    )
    spread = torch.tensor(rewards, dtype=torch.float64)
    assert meta.normalisation.mean == pytest.approx(spread.mean().item(), abs=1e-5)
    assert meta.normalisation.std == pytest.approx(spread.std(correction=0).item(), rel=1e-4)
    assert meta.normalisation.answers == 48
    assert (meta.pad_token_id, meta.eos_token_id) == (0, tokenizer.eos_token_id)
    assert meta.chat_template_sha256 == template_hash(tokenizer.chat_template)
    assert meta.data == {"pairs.jsonl": data_hash(run.train)}
    assert (meta.output, meta.objective, meta.answers_per_prompt) == ("raw logits", "pairwise", 2)
    # What the reward server shows under `normalisation`.
    shown = json.loads((run.output / "rm_meta.json").read_text())["normalisation"]
    assert set(shown) == {"mean", "std", "answers"}


def test_several_dimensions_are_served_by_their_weights(settings: MakeSettings) -> None:
    run = settings(train="dimensions", dimensions=WEIGHTS, max_steps=4)
    train_reward(run, START)
    served = RewardModel.load(str(run.output), device="cpu", label_weights=WEIGHTS)
    renderer = Renderer(AutoTokenizer.from_pretrained(run.output))
    ids = [render(renderer, one, "here").ids for one in CONVERSATIONS]
    scorer = RewardScorer.load(run.output, device="cpu", batch_size=3, label_weights=WEIGHTS)
    assert scorer.score(CONVERSATIONS) == pytest.approx(served.score(ids), abs=1e-5)
    with torch.inference_mode():
        labels = served.logits(ids)
    assert served.labels == ["helpful", "short"]
    assert served.score(ids) == pytest.approx((labels @ torch.tensor([1.0, 0.5])).tolist())
    meta = read_meta(run.output)
    assert meta is not None
    assert meta.weights == WEIGHTS
    with pytest.raises(ModelError, match="label_weights must weigh its outputs, helpful, short"):
        OneModel.load(run.output)


def test_dimensions_learn_what_their_labels_say(settings: MakeSettings) -> None:
    """In each dimension apart: of opposite labels on the same pair, both are learnt."""
    run = settings(train="dimensions", dimensions=WEIGHTS, batch_size=24, max_steps=25)
    train_reward(run, START)
    lines = [json.loads(line) for line in run.train.read_text().splitlines()]
    scorer = OneModel.load(run.output, label_weights=WEIGHTS)
    right = []
    for line in lines:
        both = [scorer.renderer.render(line["prompt"], line[s][0]) for s in ("chosen", "rejected")]
        gap = scorer.outputs(both, 2).diff(dim=0)[0]
        for place, name in enumerate(WEIGHTS):
            label = line["preferences"].get(name, 0)
            right += [float(-gap[place]) * label > 0] if label else []
    assert sum(right) / len(right) > 0.9


def test_an_encoder_learns_from_pairs_of_texts(settings: MakeSettings, bert: Path) -> None:
    run = settings(model=str(bert), max_length=256, batch_size=24, max_steps=20)
    train_reward(run, START)
    losses = [entry["loss"] for entry in logs(run.output)]
    assert losses[-1] < 0.7 * losses[0]
    meta = read_meta(run.output)
    assert meta is not None
    assert meta.chat_template_sha256 is None
    served = RewardModel.load(str(run.output), device="cpu")
    assert served.pooling == "model"
    rendered = Renderer(AutoTokenizer.from_pretrained(run.output)).render_all(PROMPT, list(TEXTS))
    assert rendered[0].token_types is not None
    alone = [served.score([one.ids], [one.token_types])[0] for one in rendered]
    assert score(run.output, CONVERSATIONS, 4) == pytest.approx(alone, abs=1e-5)


def test_a_decoder_without_a_chat_template_is_refused(
    settings: MakeSettings, tmp_path: Path
) -> None:
    shutil.copytree(policy_path(), tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        train_reward(settings(model=str(tmp_path / "model")), START)


def test_lora_trains_the_head_and_is_merged(settings: MakeSettings) -> None:
    run = settings(lora={"r": 4}, max_steps=4)
    train_reward(run, START)
    net, info = AutoModelForSequenceClassification.from_pretrained(
        run.output, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert net.config.num_labels == 1
    assert max(score(run.output, CONVERSATIONS, 4)) != min(score(run.output, CONVERSATIONS, 4))


def test_a_resumed_run_equals_one_that_was_never_cut(settings: MakeSettings) -> None:
    whole = settings("whole", save_every=4)
    train_reward(whole, START)
    cut = settings("cut", save_every=4)
    shutil.copytree(whole.output, cut.output)
    shutil.rmtree(cut.output / "checkpoints" / "checkpoint-8")
    (cut.output / "model.safetensors").unlink()
    train_reward(cut, RunContext("bon-train reward", resume=True, show=lambda text: None))
    assert_equal_weights(whole.output, cut.output)
    assert [entry["step"] for entry in logs(cut.output)] == list(range(1, 9))
    assert logs(cut.output)[-1]["loss"] == logs(whole.output)[-1]["loss"]


def test_an_ensemble_has_a_member_for_each_seed(settings: MakeSettings) -> None:
    run = settings(seeds=[0, 1], max_steps=3)
    figures = train_reward(run, START)
    members = read_ensemble(run.output)
    assert members == ("seed-0", "seed-1")
    assert members is not None
    assert "seed 1: updates" in figures
    folders = [run.output / name for name in members]
    raw = [torch.tensor(score(folder, CONVERSATIONS, 4)) for folder in folders]
    assert not torch.equal(raw[0], raw[1])
    standard = []
    for folder, rewards in zip(folders, raw, strict=True):
        meta = read_meta(folder)
        assert meta is not None
        standard.append((rewards - meta.normalisation.mean) / meta.normalisation.std)
    placed = [("somewhere", turns) for turns in CONVERSATIONS]
    rewards_of = torch.stack(standard, 1).tolist()
    for how in get_args(Combine):
        scorer = RewardScorer.load(run.output, device="cpu", batch_size=2, how=how)
        assert scorer.rewards(placed) == pytest.approx(
            [combine(own, how) for own in rewards_of], abs=1e-4
        )


def test_an_ensemble_killed_in_its_second_member_goes_on_there(settings: MakeSettings) -> None:
    whole = settings("whole", seeds=[0, 1], save_every=2, max_steps=4)
    train_reward(whole, START)
    cut = settings("cut", seeds=[0, 1], save_every=2, max_steps=4)
    shutil.copytree(whole.output, cut.output)
    (cut.output / "ensemble.json").unlink()
    shutil.rmtree(cut.output / "seed-1" / "checkpoints" / "checkpoint-4")
    (cut.output / "seed-1" / "model.safetensors").unlink()
    shown: list[str] = []
    train_reward(cut, RunContext("bon-train reward", resume=True, show=shown.append))
    assert [line.rpartition("/")[2] for line in shown if line.startswith("from ")] == [
        "checkpoint-4",
        "checkpoint-2",
    ]
    for member in ("seed-0", "seed-1"):
        assert_equal_weights(whole.output / member, cut.output / member)
    assert read_ensemble(cut.output) == read_ensemble(whole.output)


def test_a_loss_that_is_no_number_ends_the_run(settings: MakeSettings) -> None:
    with pytest.raises(RunError, match=r"step \d+: the (loss|gradient norm) is"):
        train_reward(settings(learning_rate=1e30), START)
    assert not (settings().output / "config.json").exists()


def test_a_full_disk_leaves_no_model_that_looks_whole(settings: MakeSettings) -> None:
    run = settings(max_steps=1)
    with full_disk(500_000), pytest.raises(RunError, match="out could not be written: "):
        train_reward(run, START)
    assert not (run.output / "config.json").exists()
    assert not (run.output / "rm_meta.json").exists()


def test_one_member_alone_equals_a_run_with_its_seed(settings: MakeSettings) -> None:
    train_reward(settings("many", seeds=[1], max_steps=3), START)
    train_reward(settings("one", seed=1, max_steps=3), START)
    base = settings("many").output.parent
    assert_equal_weights(base / "many" / "seed-1", base / "one")


def test_a_dry_run_shows_ranks_and_writes_nothing(settings: MakeSettings) -> None:
    shown: list[str] = []
    dry = settings(train="rankings", objective="all_pairs")
    run(dry, RunContext("bon-train reward", dry_run=True, show=shown.append))
    assert "rank 1: <|user|>name two toys" in shown[0]
    assert "reward read at: '<eos>'" in shown[0]
    assert "values: [4.0, 3.0]" in shown[0]
    assert shown[1] == "rankings: 24, dropped as too long: 0"
    assert not dry.output.exists()


def test_held_out_pairs_are_in_the_report(
    settings: MakeSettings, world: Path, tmp_path: Path
) -> None:
    long = json.loads((world / "margins.jsonl").read_text().splitlines()[0])
    long["chosen"][0]["content"] = "ball " * 600
    held_out = tmp_path / "held-out.jsonl"
    held_out.write_text((world / "margins.jsonl").read_text() + json.dumps(long) + "\n")
    run_settings = settings(max_steps=2, eval_pairs=held_out)
    figures = train_reward(run_settings, START)
    assert figures["held-out pairs"] == 24
    assert figures["held-out pairs dropped as too long"] == 1
    ends = [figures[f"accuracy, 95 % interval {end}"] for end in ("from", "to")]
    assert ends[0] < figures["accuracy on held-out pairs"] < ends[1]
    page = (run_settings.output / "report.md").read_text()
    assert "| margin | accuracy | 95 % interval | pairs |" in page
    for name in ("curves", "accuracy", "calibration"):
        assert f"(report-plots/{name}.svg)" in page
        assert (run_settings.output / "report-plots" / f"{name}.svg").is_file()
    assert "| accuracy on held-out pairs |" in (run_settings.output / "README.md").read_text()


def test_a_bad_line_of_the_held_out_pairs_costs_no_run(
    settings: MakeSettings, tmp_path: Path
) -> None:
    (tmp_path / "held-out.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"held-out\.jsonl:1: prompt: Field required"):
        train_reward(settings(eval_pairs=tmp_path / "held-out.jsonl"), START)


@pytest.mark.parametrize(
    ("changes", "line", "batches"),
    [
        ({}, "prompts are computed once for all answers", True),
        (
            {"share_prompt": False},
            "prompts are computed again for each answer: share_prompt is off",
            False,
        ),
        (
            {"lora": {"r": 2, "dropout": 0.5}, "dtype": "bfloat16"},
            "prompts are computed again for each answer: the adapter has dropout",
            False,
        ),
    ],
)  # fmt: skip
def test_terminal_and_page_say_what_saves_memory(
    settings: MakeSettings, changes: dict[str, Any], line: str, batches: bool
) -> None:
    shown: list[str] = []
    one = settings(max_steps=2, batch_size=4, **changes)
    train_reward(one, RunContext("bon-train reward", show=shown.append))
    on = "dtype bfloat16, lora.r 2" if "lora" in changes else "none"
    page = (one.output / "report.md").read_text()
    for text in (line, f"memory options: {on}"):
        assert text in shown
        assert f"- {text}\n" in page
    assert ("- batches with shared prompts: " in page) == batches
