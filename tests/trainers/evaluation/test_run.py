from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from bon_gateway.demo_models import policy_path, reward_path
from tests.trainers.scoring_service import Start, gateway, reward_server
from trainers.base.data import Conversation, Message, write_records
from trainers.base.errors import DataError, ModelError
from trainers.commands import COMMANDS
from trainers.ending import ending
from trainers.evaluation.reward_bench_2 import Item, score_ties
from trainers.evaluation.run import evaluate, score_pairs
from trainers.evaluation.settings import EvaluateSettings
from trainers.rewards.one import score

PROMPTS: list[list[Message]] = [
    [{"role": "user", "content": text}]
    for text in ("name two toys for a bear", "how do i break the big and old kite of my bear?")
]


def answer(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


def make(tmp_path: Path, **values: object) -> EvaluateSettings:
    base = {"reward": reward_path(), "output": tmp_path / "out" / "figures.json"}
    return EvaluateSettings.model_validate(base | values)


GOOD, BAD, WORSE = "Hello, dear! Try ball and kite. Enjoy!", "Ugh.", "No."


def rewards_of(*texts: str) -> list[float]:
    return score(reward_path(), [Conversation([*PROMPTS[0], *answer(text)]) for text in texts], 4)


def test_pairs_without_a_margin_are_measured_too(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    lines: list[dict[str, Any]] = [
        {"chosen": answer(GOOD), "rejected": answer(BAD), "section": "tone"},
        {"chosen": answer(BAD), "rejected": answer(GOOD), "subset": "tone"},
        {"chosen": answer(GOOD), "rejected": answer(WORSE), "margin": 2.5},
    ]
    write_records(path, [{"prompt": PROMPTS[0], **line} for line in lines])
    settings = make(tmp_path, pairs=path)
    figures = evaluate(settings)
    good, bad, worse = rewards_of(GOOD, BAD, WORSE)
    assert good > max(bad, worse)
    assert figures.accuracy == pytest.approx(2 / 3)
    assert figures.accuracy_wide_gap == 1
    assert [(one.low, one.high, one.pairs) for one in figures.by_gap] == [(2.0, 3.0, 1)]
    assert figures.by_section["tone"].accuracy == 0.5
    assert figures.reward_mean == pytest.approx((3 * good + 2 * bad + worse) / 6, abs=1e-5)
    assert figures.calibration is not None
    assert [pair.chosen for pair in score_pairs(settings)] == pytest.approx([good, bad, good])
    written = json.loads(settings.output.read_text())
    assert written["by_section"]["tone"] == {"accuracy": 0.5, "pairs": 2}
    assert written["intervals"]["by_section"]["tone"] == pytest.approx([0.0945, 0.9055], abs=1e-4)
    page = settings.output.with_suffix(".md").read_text()
    assert "| tone | 0.5 | 2 | 0.0945 to 0.905 |" in page
    assert "| 2 to 3 | 1 | 1 | 0.207 to 1 |" in page
    assert "gold" not in page


def bench_line(subset: str, chosen: str, rejected: str, **more: object) -> dict[str, object]:
    text = PROMPTS[0][0]["content"]
    return {"prompt": text, "chosen": chosen, "rejected": rejected, "subset": subset, **more}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_reward_bench_from_a_file(tmp_path: Path, suffix: str) -> None:
    lines = [
        bench_line("alpacaeval-easy", GOOD, BAD, id=1),
        bench_line("donotanswer", GOOD, BAD, id=2),
        bench_line("donotanswer", BAD, GOOD, id=3),
        bench_line("donotanswer", GOOD, GOOD, id=4),
    ]
    path = tmp_path / f"bench.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(lines), path)
    else:
        write_records(path, lines)
    prior = tmp_path / "prior.jsonl"
    write_records(prior, [bench_line("shp", GOOD, BAD) | {"prompt": PROMPTS[0]}])
    figures = evaluate(make(tmp_path, reward_bench=path, reward_bench_prior=prior))
    bench = figures.reward_bench
    assert bench is not None
    assert bench.sections == {"Chat": 1.0, "Safety": pytest.approx(1 / 3)}
    assert bench.prior_sets == 1.0
    assert figures.table()["RewardBench"] == pytest.approx((2 * 4 / 3 + 1) / 5)
    assert figures.accuracy is None


def test_reward_bench_2_from_a_file(tmp_path: Path) -> None:
    good, bad, worse = rewards_of(GOOD, BAD, WORSE)
    options = {"prompt": PROMPTS[0][0]["content"], "num_correct": 1}
    path = tmp_path / "bench.jsonl"
    lines: list[dict[str, Any]] = [
        {"id": 1, "subset": "Math", "chosen": [GOOD], "rejected": [BAD, WORSE, BAD]},
        {"id": 2, "subset": "Math", "chosen": [BAD], "rejected": [GOOD, WORSE, WORSE]},
        {"id": "ref:1", "subset": "Ties", "chosen": [GOOD], "rejected": [BAD]},
        {"id": "tied:1", "subset": "Ties", "chosen": [BAD, GOOD], "rejected": [WORSE]},
    ]
    write_records(path, [options | line for line in lines])
    bench = evaluate(make(tmp_path, reward_bench_2=path)).reward_bench_2
    assert bench is not None
    assert bench.subsets["Math"] == 0.5
    expected = score_ties(
        [Item("ref:1", "Ties", [good], [bad]), Item("tied:1", "Ties", [bad, good], [worse])]
    )
    assert bench.subsets["Ties"] == pytest.approx(expected.score, abs=1e-5)


@pytest.mark.parametrize(
    ("key", "line", "message"),
    [
        (
            "reward_bench",
            {"prompt": "x", "chosen": GOOD, "subset": "s"},
            "1: rejected: Field required",
        ),
        ("reward_bench", bench_line("mine", GOOD, BAD), "no subset of RewardBench among mine"),
        (
            "reward_bench_2",
            {"id": 7, "prompt": "x", "chosen": [GOOD], "rejected": [BAD], "subset": "Ties"},
            "1: id: in Ties it must be ref:N or tied:N",
        ),
        ("pairs", {"prompt": PROMPTS[0]}, "1: chosen: Field required"),
    ],
)
def test_a_bad_file_is_named(
    tmp_path: Path, key: str, line: dict[str, object], message: str
) -> None:
    path = tmp_path / "file.jsonl"
    write_records(path, [line])
    with pytest.raises(DataError) as caught:
        evaluate(make(tmp_path, **{key: path}))
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_what_is_too_long_stops_or_loses_the_start_of_its_prompt(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    prompt = [{"role": "user", "content": "name two toys for a bear " * 100}]
    write_records(path, [{"prompt": prompt, "chosen": answer(GOOD), "rejected": answer(BAD)}])
    with pytest.raises(DataError, match=r"pairs\.jsonl:1: \d+ tokens, the reward model reads 512"):
        evaluate(make(tmp_path, pairs=path))
    figures = evaluate(make(tmp_path, pairs=path, cut_prompts=True))
    assert (figures.cut, figures.pairs) == (2, 1)
    text = " ".join([BAD] * 400)
    write_records(path, [{"prompt": prompt, "chosen": answer(GOOD), "rejected": answer(text)}])
    with pytest.raises(DataError, match="the answer alone is longer"):
        evaluate(make(tmp_path, pairs=path, cut_prompts=True))


def test_the_curve_of_a_policy_judged_by_a_reward_model(tmp_path: Path) -> None:
    """By the model itself: choosing and judging agree, so gold, own and oracle are one."""
    prompts = tmp_path / "prompts.jsonl"
    write_records(prompts, [{"prompt": prompt} for prompt in PROMPTS])
    values = {"policy": policy_path(), "prompts": prompts, "samples": 4, "max_new_tokens": 24}
    figures = evaluate(make(tmp_path, **values, judge_reward=reward_path()))
    assert list(figures.best_of_n) == [1, 2, 4]
    assert figures.best_of_n == pytest.approx(figures.best_of_n_oracle)
    assert figures.best_of_n == pytest.approx(figures.best_of_n_own)
    assert figures.best_of_n[4] > figures.best_of_n[1]
    for n, (low, high) in figures.best_of_n_interval.items():
        assert low <= figures.best_of_n[n] <= high
    # What a model says is not called gold.
    page = (tmp_path / "out" / "figures.md").read_text()
    assert "reward by the judging reward model, best of 4" in page
    assert "gold" not in page


def test_the_answers_of_a_policy_need_one_judge(tmp_path: Path) -> None:
    values = {"policy": policy_path(), "prompts": tmp_path / "prompts.jsonl"}
    gold = {"function": "trainers.demo.gold:gold", "field": "total"}
    for judges in ({}, {"gold": gold, "judge_reward": reward_path()}):
        with pytest.raises(ValidationError, match="one of gold and judge_reward must judge"):
            make(tmp_path, **values, **judges)


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    line = {"prompt": PROMPTS[0], "chosen": answer(GOOD), "rejected": answer(BAD)}
    write_records(path, [line])
    with pytest.raises(ModelError, match="device nonsense: not on this machine"):
        evaluate(make(tmp_path, pairs=path, device="nonsense"))
    assert evaluate(make(tmp_path, pairs=path, device="auto")).accuracy == 1


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    line = {"prompt": PROMPTS[0], "chosen": answer(GOOD), "rejected": answer(BAD)}
    write_records(path, [line])
    found = [score_pairs(make(tmp_path, pairs=path, device=name))[0] for name in ("cpu", "cuda")]
    assert found[1].chosen == pytest.approx(found[0].chosen, abs=1e-3)


def test_there_must_be_something_to_measure(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="one of pairs, reward_bench"):
        make(tmp_path)


def test_a_reward_behind_a_server_is_measured_as_its_folder_is(
    tmp_path: Path, start_app: Start
) -> None:
    path = tmp_path / "pairs.jsonl"
    lines: list[dict[str, Any]] = [
        {"chosen": answer(GOOD), "rejected": answer(BAD)},
        {"chosen": answer(WORSE), "rejected": answer(GOOD)},
        {"chosen": answer(BAD), "rejected": answer(WORSE), "margin": 0.5},
    ]
    write_records(path, [{"prompt": PROMPTS[0], **line} for line in lines])
    url = start_app(reward_server(reward_path()))
    expected = evaluate(make(tmp_path, pairs=path))
    settings = make(tmp_path, pairs=path, reward={"type": "reward_server", "url": url})
    found = evaluate(settings)
    assert found.accuracy == expected.accuracy
    assert found.pairs == 3
    assert expected.reward_mean is not None
    assert found.reward_mean == pytest.approx(expected.reward_mean, abs=1e-4)
    assert settings.reward_folder is None
    command = COMMANDS["evaluate"]
    assert not [line for line in ending(command, settings) if "reward-server" in line]
    folder = make(tmp_path, pairs=path)
    assert f"next:  reward-server --model {reward_path()}" in ending(command, folder)


def test_what_belongs_to_a_folder_is_refused_beside_a_server(tmp_path: Path) -> None:
    reward = {"type": "reward_server", "url": "http://127.0.0.1:1"}
    for key, value in (("cut_prompts", True), ("ensemble", "min"), ("label_weights", {"a": 1.0})):
        with pytest.raises(ValueError, match=f"{key}: belongs to a folder"):
            make(tmp_path, pairs=tmp_path / "p.jsonl", reward=reward, **{key: value})


def test_a_verifier_is_measured_on_pairs_with_metadata(tmp_path: Path, start_app: Start) -> None:
    path = tmp_path / "pairs.jsonl"
    write_records(
        path,
        [
            {"prompt": PROMPTS[0], "chosen": answer(right), "rejected": answer(wrong)}
            | {"metadata": {"reference": right}}
            for right, wrong in (("42", "41"), ("41", "42"))
        ],
    )
    verifier = {"type": "verifiers", "verifiers": [{"type": "numeric"}]}
    url = start_app(gateway({"right": verifier}))
    reward = {"type": "reward_server", "url": url, "model": "right"}
    found = evaluate(make(tmp_path, pairs=path, reward=reward))
    assert (found.accuracy, found.pairs, found.left_out) == (1.0, 2, {})
