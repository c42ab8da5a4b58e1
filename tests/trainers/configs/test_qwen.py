"""Each shipped qwen-*.yaml, run for two steps on a stand-in for the model and the data."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bon_common.process_reward import StepReading
from bon_gateway.testing.script import Call, Step
from tests.trainers.configs.conftest import END, RECORDS, WORDS, BonTrain
from tests.trainers.conftest import Serve
from tests.trainers.preferences.helpers import log_candidate, log_line, read_lines
from tests.trainers.runtime.helpers import weights
from trainers.base.data import Conversation, Message, Pair, read_records, write_records
from trainers.rewards.meta import read_meta
from trainers.rewards.one import score

SHORT = {"max_new_tokens": 8}


def changed(folder: Path, start: Path) -> bool:
    """Whether training moved the weights; all of them are there, the tied ones once."""
    before, after = weights(start), weights(folder)
    assert before.keys() == after.keys()
    return any(not torch.equal(before[name].float(), after[name]) for name in after)


def test_prepare(data: Path) -> None:
    report = json.loads((data / "prepare.report.json").read_text())
    assert report["lines"] == RECORDS
    pairs = read_records(Pair, data / "train.jsonl") + read_records(Pair, data / "held-out.jsonl")
    assert len(pairs) == RECORDS
    assert {pair.margin for pair in pairs} == {6.0}


def test_prepare_of_a_log(bon_train: BonTrain, runs: Path) -> None:
    lines = [
        log_line(
            log_candidate(0, f"best {i}", 1.0),
            log_candidate(1, f"worst {i}", -1.0),
            messages=[{"role": "user", "content": f"question {i}"}],
        )
        for i in range(RECORDS)
    ]
    path = runs / "candidates.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)
    # A log that was cut off by a crash.
    path.write_bytes(path.read_bytes()[:-20])
    folder = bon_train("log-prepare", output="logged", model=False, input=[str(path)])
    report = json.loads((folder / "prepare.report.json").read_text())
    assert report["bad_lines"] == 1
    assert len(read_records(Pair, folder / "train.jsonl")) > RECORDS / 2


def test_sft(bon_train: BonTrain, runs: Path, qwen: Path) -> None:
    folder = bon_train("sft", output="policy", train=runs / "sft.jsonl", max_steps=2)
    assert changed(folder, qwen)
    policy = AutoModelForCausalLM.from_pretrained(folder)
    assert policy.get_input_embeddings().weight is policy.get_output_embeddings().weight


def test_what_sft_learns(
    bon_train: BonTrain, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Qwen's template does not mark the assistant's turns."""
    bon_train("sft", "--dry-run", output="dry", train=runs / "sft.jsonl")
    text, _, learnt = capsys.readouterr().out.partition("learnt: ")
    answer = read_lines(runs / "sft.jsonl")[0]["messages"][-1]["content"]
    assert learnt.splitlines()[0] == f"{answer}{END}"
    assert f"<|im_start|>assistant\n{answer}{END}\n" in text
    assert not (runs / "dry").exists()


def test_reward(reward: Path) -> None:
    meta = read_meta(reward)
    assert meta is not None
    tokenizer = AutoTokenizer.from_pretrained(reward)
    assert (meta.pad_token_id, meta.eos_token_id) == (0, tokenizer.eos_token_id)
    asked = Conversation([Message(role="user", content="amber?")])
    rewards = score(reward, [asked.said(word) for word in WORDS], 4)
    assert len(set(rewards)) > 1


def test_stepwise_reward(bon_train: BonTrain, runs: Path) -> None:
    path = runs / "steps.jsonl"
    record = {"prompt": "amber?", "steps": list(WORDS[:3]), "labels": [True, True, False]}
    write_records(path, [record] * 8)
    # The stand-in's vocabulary has one line break as a token, and not two.
    folder = bon_train(
        "stepwise-reward",
        output="stepwise",
        train=path,
        eval_steps=path,
        steps__separator="\n",
        max_steps=2,
    )
    meta = read_meta(folder)
    assert meta is not None
    assert meta.reading == StepReading("\n", None, "right", "min")
    asked = Conversation([Message(role="user", content="amber?")])
    (reward,) = score(folder, [asked.said("\n".join(WORDS[:3]))], 1)
    assert 0 < reward < 1


def test_dpo(bon_train: BonTrain, data: Path, qwen: Path) -> None:
    folder = bon_train(
        "dpo",
        output="dpo",
        train=data / "train.jsonl",
        eval_prompts=data / "held-out.jsonl",
        eval_max_new_tokens=8,
        sft_first__warmup_steps=0,  # there is one step
        max_steps=2,
    )
    assert changed(folder, qwen)
    assert changed(folder / "sft-first", qwen)


def test_grpo(bon_train: BonTrain, data: Path, qwen: Path, reward: Path) -> None:
    folder = bon_train(
        "grpo",
        output="grpo",
        train=data / "train.jsonl",
        eval_prompts=data / "held-out.jsonl",
        reward=reward,
        max_steps=2,
        no_eos_reward=None,
        **SHORT,
    )
    assert changed(folder, qwen)


def test_ppo(bon_train: BonTrain, data: Path, qwen: Path, reward: Path) -> None:
    """With adapters on bfloat16 weights, on the CPU; sampling in this process."""
    folder = bon_train(
        "ppo",
        output="ppo",
        prompts=data / "train.jsonl",
        eval_prompts=data / "held-out.jsonl",
        reward=reward,
        generation={"type": "in_process"},
        sampling=SHORT,
        iterations=2,
        prompts_per_iteration=8,
        update__minibatch_size=4,
        update__learning_rate=1e-2,
    )
    assert changed(folder, qwen)
    entries = read_lines(folder / "metrics.jsonl")
    assert [entry["iteration"] for entry in entries] == [1, 2]
    assert entries[0]["kl to reference"] == pytest.approx(0, abs=0.05)
    assert entries[0]["ratio, most"] > 1


def test_collect_and_label(bon_train: BonTrain, data: Path, runs: Path, serve: Serve) -> None:
    upstream = serve(numbered, model="Qwen/Qwen2.5-0.5B-Instruct")
    bon_train(
        "collect",
        output="answers.jsonl",
        model=False,
        prompts=data / "held-out.jsonl",
        endpoint__url=f"{upstream.url}/v1",
    )
    drawn = read_lines(runs / "answers.jsonl")
    assert [len(line["candidates"]) for line in drawn] == [4] * len(drawn)
    assert {call.body["model"] for call in upstream.calls} == {"Qwen/Qwen2.5-0.5B-Instruct"}

    judge = serve(verdict, model="Qwen/Qwen2.5-7B-Instruct")
    bon_train(
        "label",
        output="labelled.jsonl",
        model=False,
        input=runs / "answers.jsonl",
        labeller__endpoint__url=f"{judge.url}/v1",
    )
    assert len(read_records(Pair, runs / "labelled.jsonl")) == len(drawn)


def numbered(call: Call) -> Step:
    return Step(text=f"answer {call.ordinal}")


def verdict(call: Call) -> Step:
    """A judge to whom the later answer is better, wherever it is shown."""
    text = str(call.body["messages"][0]["content"])
    a, b = (int(part.split("answer ")[1].split()[0]) for part in text.split("# Answer ")[1:])
    return Step(text=f"[[{'A' if a > b else 'B'}]]")


def test_iterate(bon_train: BonTrain, data: Path, qwen: Path, reward: Path, serve: Serve) -> None:
    def answer(call: Call) -> Step:
        upstream.model = call.body["model"]  # the round's policy is served at once
        return Step(text=f"{WORDS[call.ordinal % 10]} {call.ordinal}")

    upstream = serve(answer)
    dpo: dict[str, Any] = {"dpo__max_steps": 2}
    folder = bon_train(
        "iterate",
        output="iterate",
        prompts=data / "train.jsonl",
        eval_prompts=data / "held-out.jsonl",
        reward=reward,
        endpoint__url=f"{upstream.url}/v1",
        rounds=2,
        prompts_per_round=8,
        **SHORT,
        **dpo,
    )
    asked = {call.body["model"] for call in upstream.calls}
    assert asked == {"policy-0", "policy-1"}
    assert changed(folder / "rounds" / "1" / "policy", qwen)
