"""One reward model or an ensemble, wherever a reward model is asked for."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.trainers.reward.conftest import PROMPT, START, TEXTS, answer
from tests.trainers.small import policy_path, reward_path
from trainers.cli import main
from trainers.data import write_records
from trainers.errors import DataError, ModelError, RunError
from trainers.ppo.scorer import Scorer as PpoScorer
from trainers.ppo.value import value_from_reward
from trainers.reward.judge import Judge
from trainers.reward.run import train_reward
from trainers.reward.settings import RewardSettings
from trainers.runtime.models import load_tokenizer
from trainers.scoring import Scorer, score

CONVERSATIONS: Any = [[*PROMPT, *answer(text)] for text in TEXTS]


@pytest.fixture(scope="module")
def ensemble(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two members after two updates each."""
    folder = tmp_path_factory.mktemp("ensemble")
    values = {"model": policy_path(), "train": files / "pairs.jsonl", "output": folder}
    train = {"batch_size": 8, "max_steps": 2, "learning_rate": 1e-3, "seeds": [0, 1]}
    train_reward(RewardSettings.model_validate(values | train), START)
    return folder


def test_one_model_is_asked_as_it_is() -> None:
    judge = Judge.load(reward_path(), batch_size=2)
    assert judge.score(CONVERSATIONS) == pytest.approx(score(reward_path(), CONVERSATIONS, 1))


def test_ppo_and_label_take_the_mean_of_an_ensemble(ensemble: Path, tmp_path: Path) -> None:
    expected = Judge.load(ensemble, batch_size=4).score(CONVERSATIONS)
    drawn = PpoScorer(ensemble, 3, torch.float32, torch.device("cpu"))
    assert drawn.score([PROMPT] * 4, TEXTS) == pytest.approx(expected, abs=1e-5)  # type: ignore[list-item]

    candidates = [{"answer": answer(text)} for text in TEXTS]
    write_records(tmp_path / "answers.jsonl", [{"prompt": PROMPT, "candidates": candidates}])
    for how in ("mean", "worst"):
        labeller = {"kind": "reward_model", "model": str(ensemble), "ensemble": how}
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
        judge = Judge.load(ensemble, batch_size=4, how="worst" if how == "worst" else "mean")
        assert found == pytest.approx(judge.score(CONVERSATIONS), abs=1e-5)


def test_where_one_model_is_needed_a_member_is_asked_for(ensemble: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="an ensemble, and what is read here is one model; name"):
        Scorer.load(ensemble)
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
        Judge.load(folder, batch_size=2)
    (folder / "ensemble.json").write_text('{"members": []}')
    with pytest.raises(ModelError, match=r"ensemble\.json: no members"):
        Judge.load(folder, batch_size=2)


def test_a_reward_that_is_no_number_ends_the_run() -> None:
    judge = Judge.load(reward_path(), batch_size=2)
    [(scorer, _, _)] = judge._members
    scorer.model.net.get_parameter("score.weight").requires_grad_(False).fill_(math.nan)
    with pytest.raises(RunError, match=r"^a drawn answer: the reward model answered nan$"):
        judge.score(CONVERSATIONS)


def test_what_is_too_long_is_named(tmp_path: Path) -> None:
    judge = Judge.load(reward_path(), batch_size=2)
    [(scorer, _, _)] = judge._members
    scorer.model.context_limit = 12
    with pytest.raises(DataError, match=r"^a drawn answer: \d+ tokens, the reward model reads 12$"):
        judge.score(CONVERSATIONS)
