"""One reward model or an ensemble, wherever a reward model is asked for."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml

from bon_common.ensemble import Combine
from bon_gateway import demo_models
from reward_server.errors import StartupError
from reward_server.http.service import Service
from reward_server.model_settings import ModelSettings
from reward_server.network.model import RewardModel
from reward_server.schema import ScoreItem
from reward_server.scoring.render import Renderer
from reward_server.scoring.scorer import Scorer
from reward_server.settings import Settings
from tests.trainers.reward.conftest import PROMPT, START, TEXTS, answer
from tests.trainers.small import policy_path, reward_path
from tests.waiting import eventually
from trainers.base.data import Conversation, write_records
from trainers.base.errors import DataError, ModelError, RunError
from trainers.base.loading import load_tokenizer
from trainers.cli import main
from trainers.ppo.value import value_from_reward
from trainers.reward.run import train_reward
from trainers.reward.settings import RewardTrainSettings
from trainers.rewards.one import OneModel, score
from trainers.rewards.scorer import RewardScorer

PROMPTS: list[Conversation] = [
    Conversation([{"role": "user", "content": "Name two snacks for my bear"}]),
    Conversation([{"role": "user", "content": "How do I steal a bear?"}]),
    Conversation(
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Name three games"}]
    ),
]
ANSWERS = ["Gladly! honey and jam. Enjoy.", "I cannot help with that, dear.", "ugh"]
ASKED: Any = PROMPT
CONVERSATIONS = [Conversation(ASKED).said(text) for text in TEXTS]


@pytest.fixture(scope="module")
def ensemble(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two members after two updates each."""
    folder = tmp_path_factory.mktemp("ensemble")
    values = {"model": policy_path(), "train": world / "pairs.jsonl", "output": folder}
    train = {"batch_size": 8, "max_steps": 2, "learning_rate": 1e-3, "seeds": [0, 1]}
    train_reward(RewardTrainSettings.model_validate(values | train), START)
    return folder


def test_scores_are_those_that_are_served_in_any_batch() -> None:
    renderer = Renderer(load_tokenizer(demo_models.reward_path()))
    model = RewardModel.load(str(demo_models.reward_path()), device="cpu")
    served = [
        model.score([renderer.render(prompt.messages, answer).ids])[0]
        for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)
    ]
    for size in (1, 2, 8):
        found = RewardScorer.load(
            demo_models.reward_path(), device="cpu", batch_size=size
        ).score_answers(PROMPTS, ANSWERS)
        assert found == pytest.approx(served, abs=1e-5)
    assert max(served) - min(served) > 0.5


def test_scores_are_those_of_one_model() -> None:
    conversations = [prompt.said(answer) for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)]
    found = RewardScorer.load(demo_models.reward_path(), device="cpu", batch_size=2).score_answers(
        PROMPTS, ANSWERS
    )
    assert found == pytest.approx(score(demo_models.reward_path(), conversations, 3), abs=1e-5)


@pytest.mark.parametrize("folder", [demo_models.policy_path(), Path("nowhere")])
def test_what_is_no_reward_model_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=str(folder.name)):
        RewardScorer.load(folder, device="cpu", batch_size=2)


def test_one_model_is_asked_as_it_is() -> None:
    scorer = RewardScorer.load(reward_path(), batch_size=2)
    assert scorer.score(CONVERSATIONS) == pytest.approx(score(reward_path(), CONVERSATIONS, 1))


def test_ppo_and_label_take_the_mean_of_an_ensemble(ensemble: Path, tmp_path: Path) -> None:
    expected = RewardScorer.load(ensemble, batch_size=4).score(CONVERSATIONS)
    drawn = RewardScorer.load(ensemble, batch_size=3).score_answers(
        [Conversation(ASKED)] * 4, TEXTS
    )
    assert drawn == pytest.approx(expected, abs=1e-5)

    candidates = [{"answer": answer(text)} for text in TEXTS]
    write_records(tmp_path / "answers.jsonl", [{"prompt": PROMPT, "candidates": candidates}])
    for how in ("mean", "min"):
        labeller = {"type": "reward_model", "model": str(ensemble), "ensemble": how}
        values = {
            "input": str(tmp_path / "answers.jsonl"),
            "output": str(tmp_path / f"{how}.jsonl"),
            "labeller": labeller,
            "form": "listwise",
        }
        (tmp_path / "label.yaml").write_text(yaml.safe_dump(values))
        assert main(["label", "--config", str(tmp_path / "label.yaml")]) == 0
        [line] = map(json.loads, (tmp_path / f"{how}.jsonl").read_text().splitlines())
        found = [candidate["score"] for candidate in line["candidates"]]
        scorer = RewardScorer.load(ensemble, batch_size=4, how="min" if how == "min" else "mean")
        assert found == pytest.approx(scorer.score(CONVERSATIONS), abs=1e-5)


@pytest.mark.parametrize("how", get_args(Combine))
async def test_the_reward_server_serves_the_folder_of_an_ensemble(
    ensemble: Path, how: Combine
) -> None:
    expected = RewardScorer.load(ensemble, batch_size=4, how=how).score(CONVERSATIONS)
    settings = Settings(model=str(ensemble), device="cpu", combine=how)
    service = Service(settings, Scorer.load, None)
    service.open()
    await eventually(lambda: service.lifecycle.serving)
    found = await service.scorer().score([ScoreItem(messages=PROMPT, completions=list(TEXTS))])
    assert [info.name for info in service.infos()] == [ensemble.name]
    assert found.model == ensemble.name
    assert list(found.results[0].labels) == ["seed-0", "seed-1"]
    assert found.results[0].rewards == pytest.approx(expected, abs=1e-4)
    await service.close()


def test_a_part_that_serves_one_model_refuses_an_ensemble(ensemble: Path, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=f"name one: {ensemble / 'seed-0'}"):
        Scorer.load(ModelSettings(model=str(ensemble), device="cpu"))
    (tmp_path / "ensemble.json").write_text('{"members": ["seed-0"]}')
    with pytest.raises(StartupError, match=f"an ensemble of one model: serve {tmp_path}/seed-0"):
        Scorer.load(ModelSettings(model=str(tmp_path)))
    (tmp_path / "ensemble.json").write_text('{"members": 3}')
    with pytest.raises(StartupError, match="not what bon-train reward writes"):
        Scorer.load(ModelSettings(model=str(tmp_path)))


def test_where_one_model_is_needed_a_member_is_asked_for(ensemble: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="an ensemble, and what is read here is one model; name"):
        OneModel.load(ensemble)
    with pytest.raises(ModelError, match="what the value model starts from is one model"):
        value_from_reward(ensemble, torch.device("cpu"), load_tokenizer(policy_path()))
    export = tmp_path / "export.yaml"
    export.write_text(yaml.safe_dump({"model": str(ensemble), "output": str(tmp_path / "out")}))
    assert main(["export", "--config", str(export)]) == 2
    assert not (tmp_path / "out").exists()


def test_a_member_without_its_spread_is_refused(ensemble: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(ensemble, tmp_path / "copy")
    (folder / "seed-1" / "rm_meta.json").unlink()
    with pytest.raises(ModelError, match=r"seed-1: a member of an ensemble needs the spread"):
        RewardScorer.load(folder, batch_size=2)
    (folder / "ensemble.json").write_text('{"members": []}')
    with pytest.raises(ModelError, match=r"ensemble\.json: no members"):
        RewardScorer.load(folder, batch_size=2)


def test_a_reward_that_is_no_number_ends_the_run() -> None:
    scorer = RewardScorer.load(reward_path(), batch_size=2)
    [(member, _, _)] = scorer.members
    member.model.net.get_parameter("score.weight").requires_grad_(False).fill_(math.nan)
    with pytest.raises(RunError, match=r"^a drawn answer: the reward model answered nan$"):
        scorer.score(CONVERSATIONS)


def test_what_is_too_long_is_named(tmp_path: Path) -> None:
    scorer = RewardScorer.load(reward_path(), batch_size=2)
    [(member, _, _)] = scorer.members
    member.model.context_limit = 12
    with pytest.raises(DataError, match=r"^a drawn answer: \d+ tokens, the reward model reads 12$"):
        scorer.score(CONVERSATIONS)
