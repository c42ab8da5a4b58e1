from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.trainers.iterate.conftest import MakeSettings
from tests.trainers.runtime.helpers import RESUME, START, assert_equal_weights, weights
from tests.trainers.scoring_service import Start, reward_server
from tests.trainers.small import reward_path
from trainers.base.context import RunContext
from trainers.base.data import Conversation, Message, Pair, data_hash, read_records
from trainers.base.errors import RunError, SettingsError
from trainers.iterate.round import Round
from trainers.iterate.run import run
from trainers.iterate.settings import IterateSettings
from trainers.policy.frozen import load_frozen, weights_hash
from trainers.rewards.scorer import RewardScorer

SAVING = {"batch_size": 2, "max_steps": 4, "learning_rate": 1e-3, "log_every": 1, "save_every": 2}


def policy(settings: IterateSettings, number: int) -> Path:
    return settings.output / "rounds" / str(number) / "policy"


def test_each_round_is_sampled_from_the_policy_of_the_one_before(
    settings: MakeSettings, world: Path
) -> None:
    one = settings(eval_prompts=world / "prompts.jsonl")
    figures = run(one, START)
    records = json.loads((one.output / "rounds.json").read_text())
    sampled = [record["sampling"]["weights_sha256"] for record in records]
    trained = [weights_hash(load_frozen(policy(one, number))) for number in (0, 1)]
    assert sampled == [weights_hash(load_frozen(one.model)), trained[0]]
    assert trained[1] not in sampled
    for number, record in enumerate(records):
        folder = one.output / "rounds" / str(number)
        assert record == json.loads((folder / "round.json").read_text())
        assert record["pairs_sha256"] == data_hash(folder / "pairs.jsonl")
        assert record["sampling"]["samples"] == 3
        assert record["pairs"] + sum(record["left_out"].values()) >= 8
    assert records[1]["start"] == records[1]["reference"] == str(policy(one, 0))
    assert figures["after the last round: reward"] == records[1]["after"]["reward"]
    assert records[1]["after"]["KL to the reference (nats an answer)"] != 0


def test_the_pairs_are_what_the_reward_model_says(settings: MakeSettings) -> None:
    one = settings(rounds=1)
    run(one, START)
    pairs = read_records(Pair, one.output / "rounds" / "0" / "pairs.jsonl")
    scorer = RewardScorer.load(reward_path(), device="cpu", batch_size=2)
    for pair in pairs:
        chosen, rejected = scorer.score(
            [pair.asked.answered(answer) for answer in (pair.chosen, pair.rejected)]
        )
        assert chosen - rejected == pytest.approx(pair.margin, abs=1e-4)
        assert chosen > rejected


def test_the_reference_may_stay_the_start(settings: MakeSettings) -> None:
    start = settings("start", reference="start")
    previous = settings("previous")
    for one in (start, previous):
        run(one, START)
    records = json.loads((start.output / "rounds.json").read_text())
    assert [record["reference"] for record in records] == [start.model] * 2
    assert_equal_weights(policy(start, 0), policy(previous, 0))
    with pytest.raises(AssertionError):
        assert_equal_weights(policy(start, 1), policy(previous, 1))


def test_a_run_resumed_between_two_rounds_equals_one_in_one_go(settings: MakeSettings) -> None:
    whole, parts = settings("whole"), settings("parts", rounds=1)
    run(whole, START)
    run(parts, START)
    run(settings("parts"), RESUME)
    assert_equal_weights(policy(whole, 1), policy(parts, 1))
    assert len(json.loads((parts.output / "rounds.json").read_text())) == 2


def test_a_run_resumed_within_a_round_equals_one_in_one_go(
    settings: MakeSettings, tmp_path: Path
) -> None:
    whole = settings("whole", dpo=SAVING)
    run(whole, START)
    kept = shutil.copytree(whole.output, tmp_path / "kept")
    folder = whole.output / "rounds" / "1"
    # As if killed after two updates of the second round.
    (folder / "round.json").unlink()
    (folder / "policy" / "model.safetensors").unlink()
    shutil.rmtree(folder / "policy" / "checkpoints" / "checkpoint-4")
    shown: list[str] = []
    run(whole, RunContext("bon-train iterate", resume=True, show=shown.append))
    assert any("checkpoint-2" in line for line in shown)
    assert not any("sampling" in line for line in shown)
    assert_equal_weights(kept / "rounds" / "1" / "policy", policy(whole, 1))
    # As if killed while sampling.
    shutil.rmtree(folder)
    run(whole, RESUME)
    assert_equal_weights(kept / "rounds" / "1" / "policy", policy(whole, 1))


def test_an_output_in_use_and_other_settings_are_refused(settings: MakeSettings) -> None:
    one = settings(rounds=1)
    run(one, START)
    before = weights(policy(one, 0))
    with pytest.raises(RunError, match=r"settings\.json: left by an earlier run; --resume"):
        run(one, START)
    with pytest.raises(SettingsError, match=r"samples: 4 cannot resume .*was made with 3"):
        run(settings(rounds=1, samples=4), RESUME)
    with pytest.raises(SettingsError, match=r"reward: .* cannot resume .*was made with "):
        run(settings(rounds=1, reward=policy(one, 0)), RESUME)
    assert all((weights(policy(one, 0))[name] == value).all() for name, value in before.items())


def test_rounds_draw_prompts_of_their_own(settings: MakeSettings) -> None:
    prompts = [Conversation([Message(role="user", content=str(i))]) for i in range(30)]
    chosen = [Round(settings(), number, "m", START).choose(prompts) for number in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len({str(prompt) for prompt in chosen[0]}) == 8


def test_dry_run_shows_scored_answers_and_writes_nothing(settings: MakeSettings) -> None:
    one = settings()
    shown: list[str] = []
    assert run(one, RunContext("bon-train iterate", dry_run=True, show=shown.append)) == {}
    rewards = [float(line.split()[0]) for line in shown[1:4]]
    assert rewards == sorted(rewards, reverse=True)
    assert not one.output.exists()


def test_a_server_labels_as_its_folder_does(settings: MakeSettings, start_app: Start) -> None:
    url = start_app(reward_server(reward_path()))
    here = settings("here", rounds=1)
    there = settings("there", rounds=1, reward={"type": "reward_server", "url": url})
    for one in (here, there):
        run(one, START)
    expected, found = [
        read_records(Pair, one.output / "rounds" / "0" / "pairs.jsonl") for one in (here, there)
    ]
    assert [(one.chosen, one.rejected) for one in found] == [
        (one.chosen, one.rejected) for one in expected
    ]
    margins = [one.margin for one in expected]
    assert [one.margin for one in found] == pytest.approx(margins, abs=1e-4)
