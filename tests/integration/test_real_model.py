"""A real small language model on one vLLM engine, behind the gateway and in its own process.

The toy models are asked the same elsewhere. Here are a real chat template, a vocabulary of 49,152
tokens and text that nobody made for tests.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bon_gateway.demo_models.real.facts import FOLDER, REWARD_FOLDER
from tests.integration.conftest import FAN_OUTS
from tests.integration.engines import CONTEXT, MODEL, Generator, start_vllm
from tests.integration.gateway import Gateway, leave
from tests.integration.processes import Processes
from tests.integration.readme import ADDRESS, blocks
from tests.integration.reference import Answer, PolicyReference
from tests.real_model import real_model
from tests.vllm_forks import VllmForks
from tests.waiting import eventually
from trainers.base.data import Conversation
from trainers.rewards.one import score

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(500)]

QUESTION = "What is the capital of France?"
KNOWN = (
    (
        "What is the capital of Italy?",
        "The capital of Italy is Rome.",
        "The capital of Italy is Paris.",
    ),
    ('What is the opposite of "hot"?', "cold", "warm"),
    ('Is "sparrow" the name of a bird or a tool?', "bird", "tool"),
    (
        'Write one sentence about dogs that contains the word "quiet".',
        "On quiet days I walk with my dogs.",
        "I walk with my dogs every day.",
    ),
)
"""Questions, each with a right answer and a wrong one."""
SYSTEM = {"role": "system", "content": "You answer in one short sentence."}
CONVERSATIONS: tuple[list[dict[str, Any]], ...] = (
    [{"role": "user", "content": QUESTION}],
    [SYSTEM, {"role": "user", "content": "Name a large animal."}],
    [
        {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "Are you sure? \N{BEAR FACE} Gruß, 你好"},
    ],
)
LIMIT = 20
"""Tokens of an answer."""
DECIDED = 1e-2
"""A token that leads by less may be another one elsewhere."""
EMOJI = (
    "\N{BEAR FACE}\N{PARTY POPPER}\N{WAVING HAND SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-5} done"
)

ByHand = Callable[[list[Any]], float]


@dataclass(frozen=True)
class Real:
    engine: Generator
    gateway: Gateway
    folder: Path
    answers: list[Answer]
    """Of transformers, to each of the conversations."""


@pytest.fixture(scope="module")
def real(passing: Processes, vllm: VllmForks) -> Real:
    folder = real_model()
    engine = Generator(*start_vllm(passing, vllm, "vllm-real", str(folder), []), "/health")
    strategy = {"type": "best_of_n", "n": 4}
    settings = {
        "policies": {
            **{
                fan_out: {"type": "vllm", "fan_out": fan_out, "urls": [engine.url]}
                for fan_out in FAN_OUTS
            },
            "embedded": {"type": "transformers", "model": str(folder), "threads": 1},
        },
        "rewards": {"toy": {"type": "in_process", "model": str(_toy_reward())}},
        "models": {
            "one": {"policy": "separate", "strategy": {"type": "single"}},
            "one-embedded": {"policy": "embedded", "strategy": {"type": "single"}},
            **{
                name: {"policy": name, "reward": "toy", "strategy": strategy}
                for name in (*FAN_OUTS, "embedded")
            },
        },
    }
    reference = PolicyReference(folder)
    answers = [reference.greedy(messages, LIMIT) for messages in CONVERSATIONS]
    del reference
    engine.wait()
    gateway = Gateway(passing, settings)
    gateway.wait()
    return Real(engine, gateway, folder, answers)


def _toy_reward() -> Path:
    """It knows nothing of such text. Whom it prefers is as good as any other rule."""
    from bon_gateway import demo_models

    return demo_models.reward_path()


def chunks_of(text: str) -> list[dict[str, Any]]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def texts_of(chunks: list[dict[str, Any]]) -> list[str]:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    return [delta["content"] for delta in deltas if delta.get("content")]


@pytest.mark.parametrize("place", range(len(CONVERSATIONS)))
async def test_greedy_is_transformers_own(real: Real, place: int) -> None:
    """In the template, the tokens and the text; by vLLM, and by the policy in this process."""
    expected, messages = real.answers[place], CONVERSATIONS[place]
    told = real.engine.post("/tokenize", {"model": MODEL, "messages": messages})
    assert told["tokens"] == expected.prompt_ids
    if expected.margin < DECIDED:
        pytest.fail("the model cannot decide; ask it something else")
    for model in ("one", "one-embedded"):
        answer = await real.gateway.chat(
            model=model, messages=messages, temperature=0, max_tokens=LIMIT
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == expected.text
        assert answer.json()["usage"]["prompt_tokens"] == len(expected.prompt_ids)


@pytest.mark.parametrize("model", [*FAN_OUTS, "embedded"])
async def test_the_best_by_hand(real: Real, reward_by_hand: ByHand, model: str) -> None:
    asked = {"model": model, "messages": CONVERSATIONS[1], "seed": 3, "max_tokens": LIMIT}
    answer = await real.gateway.chat(**asked, bon={"return_candidates": True})
    assert answer.status_code == 200, answer.text
    bon, choice = answer.json()["bon"], answer.json()["choices"][0]
    texts = [candidate["message"]["content"] for candidate in bon["candidates"]]
    assert len(set(texts)) == 4
    rewards = [reward_by_hand([*CONVERSATIONS[1], c["message"]]) for c in bon["candidates"]]
    assert [c["reward"] for c in bon["candidates"]] == pytest.approx(rewards, abs=1e-4)
    finished = [i for i, c in enumerate(bon["candidates"]) if c["status"] == "finished"]
    best = max(finished or range(4), key=lambda place: rewards[place])
    assert (bon["winner"], choice["message"]["content"]) == (best, texts[best])
    again = await real.gateway.chat(**asked)
    assert again.json()["choices"] == answer.json()["choices"]
    streamed = await real.gateway.chat(**asked, stream=True)
    assert "".join(texts_of(chunks_of(streamed.text))) == texts[best]


async def test_logprobs(real: Real) -> None:
    """The winner's own, as the engine tells them, and those of the policy in this process."""
    found = []
    for model in ("one", "one-embedded"):
        answer = await real.gateway.chat(
            model=model, messages=CONVERSATIONS[0], temperature=0, max_tokens=LIMIT,
            logprobs=True, top_logprobs=3,
        )  # fmt: skip
        choice = answer.json()["choices"][0]
        entries = choice["logprobs"]["content"]
        said = b"".join(bytes(entry["bytes"]) for entry in entries).decode()
        # The end of the turn is a token without text.
        assert said.removesuffix("<|im_end|>") == choice["message"]["content"]
        found.append([[one["logprob"] for one in entry["top_logprobs"]] for entry in entries])
    assert found[0] == [pytest.approx(one, abs=1e-3) for one in found[1]]


async def test_stop_strings(real: Real) -> None:
    text = real.answers[0].text
    word = text.split()[3]
    for model in ("one", "one-embedded"):
        answer = await real.gateway.chat(
            model=model, messages=CONVERSATIONS[0], temperature=0, max_tokens=LIMIT,
            stop=[word],
        )  # fmt: skip
        choice = answer.json()["choices"][0]
        assert choice["message"]["content"] == text[: text.index(word)]
        assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", word)


async def test_characters_that_are_cut_over_tokens(real: Real) -> None:
    asked = {
        "messages": CONVERSATIONS[0], "max_tokens": 40, "structured_outputs": {"choice": [EMOJI]},
    }  # fmt: skip
    assert len(real.engine.post("/tokenize", {"model": MODEL, "prompt": EMOJI})["tokens"]) > 8
    for model in ("one", "separate", "together"):
        answer = await real.gateway.chat(model=model, **asked, stream=True)
        texts = texts_of(chunks_of(answer.text))
        assert "".join(texts) == EMOJI
        assert len(texts) > 1 or model != "one"  # a winner comes at once
        assert not any("\N{REPLACEMENT CHARACTER}" in text for text in texts)


@pytest.mark.parametrize("model", ["one", "separate", "embedded"])
async def test_long_prompts_and_short_answers(real: Real, model: str) -> None:
    words = "the quick brown fox jumps over the lazy dog. " * 40  # some 400 tokens
    messages = [{"role": "user", "content": f"{words} How many animals are there?"}]
    answer = await real.gateway.chat(model=model, messages=messages, max_tokens=1, seed=1)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert CONTEXT > body["usage"]["prompt_tokens"] > 400
    assert body["choices"][0]["finish_reason"] == "length"
    if "bon" in body and "candidates" in body["bon"]:
        assert {candidate["tokens"] for candidate in body["bon"]["candidates"]} == {1}


async def test_a_prompt_that_is_too_long(real: Real) -> None:
    messages = [{"role": "user", "content": "fox " * 3 * CONTEXT}]
    answer = await real.gateway.chat(model="separate", messages=messages)
    assert answer.status_code == 400, answer.text
    assert str(CONTEXT) in answer.json()["error"]["message"]


async def test_the_first_of_several(real: Real) -> None:
    answer = await real.gateway.chat(
        model="separate", messages=CONVERSATIONS[1], seed=5, max_tokens=2 * LIMIT,
        bon={"strategy": "first_k", "n": 2, "spare": 2, "return_candidates": True},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    statuses = [candidate["status"] for candidate in answer.json()["bon"]["candidates"]]
    assert len(statuses) == 4
    assert sum(status in ("finished", "truncated") for status in statuses) >= 2


async def test_a_deadline_and_a_client_that_leaves(real: Real) -> None:
    """In both cases the engine has nothing left to do."""
    long = {"messages": CONVERSATIONS[1], "seed": 7, "ignore_eos": True, "max_tokens": 400}
    before = real.engine.generated
    answer = await real.gateway.chat(model="separate", **long, bon={"deadline_ms": 1000})
    assert answer.status_code in (200, 504), answer.text
    await eventually(lambda: real.engine.running == 0, 10, "the engine is idle")
    assert real.engine.generated - before < 4 * 400
    before = real.engine.generated
    request = asyncio.create_task(real.gateway.chat(model="together", **long, stream=True))
    await eventually(lambda: real.engine.generated > before, 60, "it generates")
    await leave(request)
    await eventually(lambda: real.engine.running == 0, 10, "the engine is idle")
    assert real.engine.generated - before < 4 * 400


def test_serve_on_it(passing: Processes, tmp_path: Path) -> None:
    """`make serve`: the adapter is merged; what is printed, and the README's request, show all four
    answers; the merged model knows right from wrong where its card says that it does."""
    base = tmp_path / FOLDER
    base.parent.mkdir()
    base.symlink_to(real_model())
    gateway = Gateway(passing, flags=("--demo", "real"), folder=tmp_path)
    gateway.wait()
    [asked] = [line for line in gateway.process.output.splitlines() if line.startswith("curl ")]
    assert "/smollm2-135m-instruct-reward (538 MB)" in gateway.process.output
    [told] = blocks("sh")
    for script in (asked, told.replace(ADDRESS, gateway.url)):
        done = subprocess.run(
            ["bash", "-c", script.replace("python3", sys.executable)],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        rewards = re.findall(r"^-?\d+\.\d+ \S", done.stdout, re.MULTILINE)
        assert len(rewards) == 4
        assert len(set(rewards)) > 1
    gateway.process.stop()
    turns = [
        Conversation([{"role": "user", "content": asked}, {"role": "assistant", "content": answer}])
        for asked, right, wrong in KNOWN
        for answer in (right, wrong)
    ]
    rewards = score(tmp_path / REWARD_FOLDER, turns, len(turns))
    assert all(right > wrong + 1 for right, wrong in zip(rewards[::2], rewards[1::2], strict=True))
