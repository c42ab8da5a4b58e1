from __future__ import annotations

import json
import math
import random

import pytest

from trainers.demo.data import WorldData, make_world, normalise, prefers_first, some_pairs
from trainers.demo.gold import gold, is_unsafe
from trainers.demo.settings import WorldSettings

SMALL = WorldSettings(
    train_prompts=300, held_out_prompts=50, sft_records=400, pairs=2000, held_out_pairs=100
)


@pytest.fixture(scope="module")
def world() -> WorldData:
    return make_world(SMALL)


@pytest.mark.parametrize("gap", [-1.5, 0.0, 0.5, 2.0])
def test_labels_follow_the_sigmoid_of_the_gap(gap: float) -> None:
    rng = random.Random(1)
    draws = 20_000
    share = sum(prefers_first(rng, 1.0 + gap, 1.0) for _ in range(draws)) / draws
    expected = 1 / (1 + math.exp(-gap))
    assert share == pytest.approx(expected, abs=4 * math.sqrt(0.25 / draws))


def test_pairs_are_noisy_but_mostly_right(world: WorldData) -> None:
    expected = right = 0.0
    for pair in world.pairs:
        chosen, rejected = (
            gold(pair["prompt"], pair[side][0]["content"]).total for side in ("chosen", "rejected")
        )
        probability = 1 / (1 + math.exp(-abs(chosen - rejected)))
        expected += probability
        right += (chosen > rejected) + 0.5 * (chosen == rejected)
    assert right / len(world.pairs) == pytest.approx(expected / len(world.pairs), abs=0.035)


def test_the_seed_decides_everything(world: WorldData) -> None:
    assert make_world(SMALL) == world
    assert make_world(SMALL.model_copy(update={"seed": 1})).pairs != world.pairs


def test_held_out_asks_never_occur_in_training(world: WorldData) -> None:
    def asks(records: list[dict[str, list[dict[str, str]]]], key: str) -> set[str]:
        return {normalise(m["content"]) for r in records for m in r[key] if m["role"] == "user"}

    trained = asks(world.sft, "messages") | asks(world.pairs, "prompt")
    held_out = asks(world.held_out_prompts, "prompt") | asks(world.held_out_pairs, "prompt")
    assert len(held_out) == 50
    assert trained & held_out == set()


def test_held_out_pairs_are_in_true_order_with_their_gap(world: WorldData) -> None:
    for pair in world.held_out_pairs:
        chosen, rejected = (
            gold(pair["prompt"], pair[side][0]["content"]).total for side in ("chosen", "rejected")
        )
        assert pair["margin"] == chosen - rejected > 0


def test_held_out_prompts_do_not_depend_on_how_much_is_trained() -> None:
    fewer = make_world(SMALL.model_copy(update={"sft_records": 1, "pairs": 1}))
    assert fewer.held_out_prompts == make_world(SMALL).held_out_prompts


def test_records_are_json(world: WorldData) -> None:
    assert json.loads(json.dumps(world.sft[0])) == world.sft[0]


def test_some_pairs_are_the_first_of_each_kind_in_their_order(world: WorldData) -> None:
    few = some_pairs(world.pairs, 20, 0.8)
    assert [is_unsafe(pair["prompt"]) for pair in few].count(True) == 16
    places = [world.pairs.index(pair) for pair in few]
    assert places == sorted(places)
    unsafe = [pair for pair in world.pairs if is_unsafe(pair["prompt"])]
    assert [pair for pair in few if is_unsafe(pair["prompt"])] == unsafe[:16]


def test_pairs_that_are_not_there_are_missed(world: WorldData) -> None:
    with pytest.raises(ValueError, match="unsafe and 0 other pairs are missing"):
        some_pairs(world.pairs, len(world.pairs), 0.8)
