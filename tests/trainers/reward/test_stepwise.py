"""`objective: stepwise`: the model learns, and the reward server serves the same numbers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from transformers import AutoModelForTokenClassification, AutoTokenizer

from bon_gateway import demo_models
from bon_gateway.app import create_app
from bon_gateway.gateway import wait_until
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from reward_server.model_settings import ModelSettings
from reward_server.schema import ScoreItem
from reward_server.scoring.scorer import Scorer
from tests.loop_server import serving_app
from tests.trainers.reward.conftest import START, MakeSettings
from tests.trainers.runtime.helpers import largest_difference, logs
from tests.trainers.small import policy_path, reward_path
from trainers.base.context import RunContext
from trainers.base.data import Conversation, write_records
from trainers.base.errors import DataError, ModelError, SettingsError
from trainers.evaluation.run import evaluate
from trainers.evaluation.settings import EvaluateSettings
from trainers.reward.losses import step_cross_entropy
from trainers.reward.objectives import Outputs, step_losses
from trainers.reward.run import run, train_reward
from trainers.reward.settings import RewardTrainSettings
from trainers.rewards.meta import read_meta
from trainers.rewards.one import OneModel, score
from trainers.rewards.scorer import RewardScorer

TOLERANCE = 1e-4
RIGHT = ("ball", "drum", "kite", "train")
WRONG = ("mud", "knife", "fire")
PROMPT: Any = [{"role": "user", "content": "name toys for a bear"}]
GOLDEN = [
    (0.710979, 3.64958),
    (0.518221, 4.79061),
    (0.438858, 4.20387),
    (0.299610, 3.21261),
    (0.200527, 2.18267),
    (0.215890, 2.59012),
    (0.200559, 2.47950),
    (0.150309, 1.77745),
]
"""Loss and gradient norm of each update."""


def labelled(rng: random.Random) -> dict[str, Any]:
    """Steps with one toy each; a step without a toy is wrong."""
    words = [rng.choice((*RIGHT, *RIGHT, *WRONG)) for _ in range(rng.randrange(1, 5))]
    steps = [f"Try {word}." for word in words]
    return {"prompt": PROMPT, "steps": steps, "labels": [int(word in RIGHT) for word in words]}


@pytest.fixture(scope="session")
def stepwise(files: Path) -> Path:
    """`stepwise` and `stepwise-held-out`, both beside the other files."""
    rng = random.Random(0)
    write_records(files / "stepwise.jsonl", [labelled(rng) for _ in range(48)])
    write_records(files / "stepwise-held-out.jsonl", [labelled(rng) for _ in range(40)])
    return files


@pytest.fixture
def make(stepwise: Path, settings: MakeSettings) -> MakeSettings:
    def made(output: str = "out", train: str = "stepwise", **changes: object) -> Any:
        given = {"objective": "stepwise", "steps": {"separator": "\n"}}
        return settings(output, train, **(given | changes))

    return made


@pytest.fixture(scope="session")
def trained(stepwise: Path, tmp_path_factory: pytest.TempPathFactory) -> RewardTrainSettings:
    """A model that has learnt it."""
    settings = RewardTrainSettings.model_validate(
        {
            "model": policy_path(),
            "train": stepwise / "stepwise.jsonl",
            "eval_steps": stepwise / "stepwise-held-out.jsonl",
            "output": tmp_path_factory.mktemp("stepwise") / "out",
            "objective": "stepwise",
            "steps": {"separator": "\n"},
            "batch_size": 16,
            "max_steps": 40,
            "learning_rate": 3e-3,
            "log_every": 1,
        }
    )
    train_reward(settings, START)
    return settings


def test_the_loss_is_that_of_torch() -> None:
    """Cross-entropy of two labels, and its form for soft ones."""
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 2)
    labels = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, -1.0, 1.0, 0.0], [0.3, 1.0, 0.0, 0.0]])
    present = torch.tensor([[True] * 4, [True] * 4, [True] * 2 + [False] * 2])
    found, metrics = step_losses(Outputs(logits, logits[..., 1], present), {"labels": labels})
    first = F.cross_entropy(logits[0], labels[0].long())
    second = F.cross_entropy(logits[1][[0, 2, 3]], labels[1][[0, 2, 3]].long())
    soft = torch.stack([1 - labels[2, :2], labels[2, :2]], 1)
    third = F.cross_entropy(logits[2, :2], soft)
    torch.testing.assert_close(found, torch.stack([first, second, third]))
    assert set(metrics) == {"step_accuracy", "first_error"}
    none = torch.zeros(1, 2, dtype=torch.bool)
    assert step_cross_entropy(logits[:1, :2, 0], logits[:1, :2, 1], labels[:1, :2], none) == 0


def test_the_metrics_are_what_a_hand_computes() -> None:
    # Called right, wrong, right; right, right; wrong.
    sure = torch.tensor([[[0, 1], [1, 0], [0, 1]], [[0, 1], [0, 1], [0, 0]], [[1, 0]] * 3]).float()
    present = torch.tensor([[True] * 3, [True, True, False], [True, False, False]])
    labels = torch.tensor([[1.0, 0.0, -1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    _, metrics = step_losses(Outputs(sure, sure[..., 1], present), {"labels": labels})
    assert metrics["step_accuracy"].item() == pytest.approx(4 / 5)
    assert metrics["first_error"].item() == pytest.approx(2 / 3)


def test_a_golden_trajectory(make: MakeSettings) -> None:
    """Losses and gradient norms of 8 updates, as they were when this was written."""
    settings = make(model=demo_models.policy_path())
    train_reward(settings, START)
    found = [(entry["loss"], entry["grad_norm"]) for entry in logs(settings.output)]
    for (loss, norm), (golden_loss, golden_norm) in zip(found, GOLDEN, strict=True):
        assert loss == pytest.approx(golden_loss, rel=1e-3)
        assert norm == pytest.approx(golden_norm, rel=1e-2)


def test_eight_passes_of_one_equal_one_of_eight(make: MakeSettings) -> None:
    whole, parts = make("whole"), make("parts", accumulate=8)
    for settings in (whole, parts):
        train_reward(settings, START)
    for one, other in zip(logs(whole.output), logs(parts.output), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=2e-3)
    assert largest_difference(whole.output, parts.output) < 1e-4


def test_wrong_steps_are_found(trained: RewardTrainSettings) -> None:
    lines = logs(trained.output)
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert lines[-1]["step_accuracy"] > lines[0]["step_accuracy"]
    assert 0 <= lines[-1]["first_error"] <= 1
    meta = read_meta(trained.output)
    assert meta is not None
    assert meta.steps == {"separator": "\n", "token": None, "label": "right", "aggregate": "min"}
    assert 0 < meta.normalisation.mean < 1
    assert "first-error F1" in (trained.output / "README.md").read_text()


async def served(folder: Path, answers: list[str]) -> tuple[list[float], list[list[float]]]:
    """As a server without any setting scores them."""
    scorer = Scorer.load(ModelSettings(model=str(folder), device="cpu"))
    await scorer.start()
    found = (await scorer.score([ScoreItem(messages=PROMPT, completions=list(answers))])).results[0]
    await scorer.close()
    return found.rewards, found.steps


async def test_what_is_trained_is_what_is_served(trained: RewardTrainSettings) -> None:
    answers = ["Try ball.\nTry mud.\nTry kite.", "Try drum.\n\n Try fire.", "Try train."]
    rewards, steps = await served(trained.output, answers)
    conversations = [Conversation(PROMPT).said(text) for text in answers]
    assert score(trained.output, conversations, 2) == pytest.approx(rewards, abs=TOLERANCE)
    scorer = RewardScorer.load(trained.output, device="cpu", batch_size=2)
    assert scorer.score(conversations) == pytest.approx(rewards, abs=TOLERANCE)
    # And as the trainer's own network has it, read where the line breaks are.
    tokenizer = AutoTokenizer.from_pretrained(trained.output)
    net = AutoModelForTokenClassification.from_pretrained(trained.output).eval()
    model = OneModel.load(trained.output)
    for one, found in zip(conversations, steps, strict=True):
        rendered = model.renderer.render(one.messages[:-1], one.messages[-1])
        assert {tokenizer.decode([rendered.ids[place]]) for place in rendered.reads} == {"\n"}
        with torch.inference_mode():
            logits = net(torch.tensor([rendered.ids])).logits[0, list(rendered.reads)]
        assert logits.softmax(-1)[:, 1].tolist() == pytest.approx(found, abs=TOLERANCE)


async def test_best_of_n_takes_the_answer_without_the_wrong_step(
    trained: RewardTrainSettings,
) -> None:
    """From labelled steps to the gateway's answer. The last step of each is right."""
    texts = [
        "Try kite.\nTry mud.\nTry ball.",
        "Try fire.\nTry drum.\nTry kite.",
        "Try train.\nTry ball.\nTry drum.",
        "Try ball.\nTry knife.\nTry train.",
    ]

    def script(call: Call) -> Step:
        return Step(text=texts[call.candidate or 0])

    async with FakeUpstream(script) as upstream:
        settings = Settings.model_validate(
            {
                "policies": {
                    "fake": {"type": "vllm", "urls": [upstream.url], "fan_out": "separate"}
                },
                "rewards": {
                    "steps": {
                        "type": "in_process", "model": str(trained.output), "device": "cpu",
                    }
                },
                "models": {
                    "best": {
                        "policy": "fake",
                        "reward": "steps",
                        "strategy": {"type": "best_of_n", "n": 4},
                    }
                },
            }
        )  # fmt: skip
        app = create_app(settings, environ={})
        async with (
            serving_app(app) as url,
            httpx.AsyncClient(base_url=url, timeout=20, verify=False) as client,
        ):
            backends = app.state.gateway.backends
            assert await wait_until(lambda: all(b.ready() for b in backends.values()), 60)
            body = {"model": "best", "messages": PROMPT}
            answer = (await client.post("/v1/chat/completions", json=body)).json()
    assert answer["choices"][0]["message"]["content"] == texts[2]
    rewards = {one["index"]: one["reward"] for one in answer["bon"]["candidates"]}
    assert rewards[2] > 0.5 > max(rewards[0], rewards[1], rewards[3])


def test_evaluate_finds_the_first_wrong_step(
    trained: RewardTrainSettings, stepwise: Path, tmp_path: Path
) -> None:
    values = {
        "reward": trained.output,
        "steps": stepwise / "stepwise-held-out.jsonl",
        "output": tmp_path / "figures.json",
    }
    figures = evaluate(EvaluateSettings.model_validate(values)).steps
    assert figures is not None
    assert figures.f1 is not None
    assert figures.answers == 40
    assert figures.step_accuracy > 0.9
    assert figures.f1 > 0.8
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["steps"]["step_accuracy"] == figures.step_accuracy
    assert "first-error F1" in (tmp_path / "figures.md").read_text()
    values["reward"] = reward_path()
    with pytest.raises(ModelError, match="scores whole answers, not their steps"):
        evaluate(EvaluateSettings.model_validate(values))


def test_an_adapter_is_merged_into_what_is_served(make: MakeSettings) -> None:
    settings = make(lora={"r": 4}, max_steps=2)
    train_reward(settings, START)
    net = AutoModelForTokenClassification.from_pretrained(settings.output)
    assert (net.config.num_labels, net.config.id2label) == (2, {0: "wrong", 1: "right"})
    assert (settings.output / "adapter" / "adapter_config.json").is_file()


def test_a_dry_run_shows_the_marks(make: MakeSettings) -> None:
    shown: list[str] = []
    run(make(), RunContext("bon-train reward", dry_run=True, show=shown.append))
    text = "\n".join(shown)
    assert "steps read at: ['\\n'" in text
    assert "answers: 48, dropped as too long: 0" in text


def test_bad_input_is_named(make: MakeSettings, stepwise: Path) -> None:
    with pytest.raises(SettingsError, match=r"steps\.token: '\\n\\n' is no single token"):
        train_reward(make(steps={}), START)
    bad = stepwise / "bad-steps.jsonl"
    write_records(bad, [{"prompt": PROMPT, "steps": ["a\nb"], "labels": [1]}])
    with pytest.raises(DataError, match=r"bad-steps\.jsonl:1: steps\.0: holds the separator"):
        train_reward(make(train="bad-steps"), START)
    with pytest.raises(DataError, match=r"bad-steps\.jsonl:1: steps\.0"):
        train_reward(make(eval_steps=bad), START)


@pytest.mark.parametrize(
    "changes",
    [
        {"dimensions": {"a": 1.0}},
        {"center_rewards": 0.1},
        {"eval_pairs": "x.jsonl"},
        {"seeds": (1, 2)},
        {"adapter": "continue"},
        {"margin_weight": 0.1},
        {"objective": "pairwise"},
    ],
)
def test_settings_of_other_objectives_are_refused(
    make: MakeSettings, changes: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(changes))}|steps"):
        make(**changes)


def test_settings_written_out_in_full_are_read_again() -> None:
    """As `bon-train` writes them beside what it trained: every key, defaults too."""
    plain = RewardTrainSettings(model="m", train="t.jsonl", output="out")
    again = RewardTrainSettings.model_validate(plain.model_dump())
    assert again == plain
    for name, value in (("steps", {"separator": "|"}), ("eval_steps", "e.jsonl")):
        with pytest.raises(ValidationError, match=f"{name}: only for objective stepwise"):
            RewardTrainSettings.model_validate(plain.model_dump() | {name: value})
