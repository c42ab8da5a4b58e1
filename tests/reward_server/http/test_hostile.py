"""One client at its worst, and everybody else is still answered by a real server.

The server, the client and those who ask meanwhile are processes of their own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.growing_logs import entries
from tests.integration.exposition import get
from tests.integration.probing import probing
from tests.integration.processes import Processes

DEMO = Path(__file__).parents[3] / "bon_gateway" / "demo_models" / "reward"
LIVEZ_S = 0.1
SCORE_S = 0.5
"""Of one call. Where texts are tokenised before they are refused, a score waits for a minute, and
one text costs 12 s of CPU time."""
CPU_S = 2.0
MEGABYTES = 9_000_000
SMALL = json.dumps({"items": [{"messages": [{"role": "user", "content": "q"}],
                               "completions": ["a", "b"]}]})  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process]]:
    options = ["--model", str(DEMO), "--port", "0", "--device", "cpu", "--threads", "1"]
    command = [sys.executable, "-m", "reward_server", *options]
    # Its log goes to a file: a pipe that nobody reads would fill up and stop it.
    process = Processes(tmp_path_factory.mktemp("hostile")).start("reward-server", command)
    try:
        process.wait_until(lambda: entries(process.output), 60, "listens")
        address = f"127.0.0.1:{entries(process.output)[0]['port']}"
        ready = f"http://{address}/readyz"
        process.wait_until(lambda: get(ready).status_code == 200, 60, "is ready")
        yield address, psutil.Process(process.pid)
    finally:
        process.kill()


def filled(unit: str, size: int = MEGABYTES) -> str:
    return unit * (size // len(unit))


def item(prompt: Any = "q", answer: Any = "a", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}], "completions": [answer], **more}


def asked(**fields: Any) -> tuple[str, bytes]:
    return "/v1/score", json.dumps({"items": [item(**fields)]}).encode()


def called(arguments: str) -> tuple[str, bytes]:
    function = {"name": "f", "arguments": arguments}
    call = {"id": "c", "type": "function", "function": function}
    return asked(answer={"content": "", "tool_calls": [call]})


def raw(unit: str, size: int = MEGABYTES) -> tuple[str, bytes]:
    """A message with a member of many units."""
    head = b'{"items":[{"completions":["a"],"messages":[{"role":"user","content":"q","x":['
    return "/v1/score", head + filled(unit, size).encode() + b"1]}]}]}"


def announced(prompt: str) -> tuple[str, bytes]:
    return "/v1/prefix", json.dumps({"messages": [{"role": "user", "content": prompt}]}).encode()


def cut(prompt: str) -> tuple[str, bytes]:
    return "/v1/score", json.dumps(
        {"items": [item(prompt)], "on_overflow": "truncate_prompt"}
    ).encode()


def many(prompt: str, answers: int) -> tuple[str, bytes]:
    body = {"items": [item(prompt) | {"completions": [f"a{i}" for i in range(answers)]}]}
    return "/v1/score", json.dumps(body).encode()


def posted(path: str, **body: Any) -> tuple[str, bytes]:
    return path, json.dumps(body).encode()


WORDS = "a long story of bears and balls "
WORST: dict[str, tuple[tuple[str, bytes], int]] = {
    "one word": (asked(prompt=filled("ab")), 400),
    "words": (asked(prompt=filled(WORDS)), 400),
    "spaces": (asked(prompt=filled(" ")), 400),
    "marks": (asked(prompt=filled("<|user|>")), 400),
    "characters beyond ASCII": (asked(prompt=filled("\u00e9\u2603", MEGABYTES // 6)), 400),
    "an answer": (asked(answer=filled(WORDS)), 400),
    "cut": (cut(filled(WORDS)), 200),
    "cut, one word": (cut(filled("ab")), 200),
    "cut, an answer": (asked(answer=filled(WORDS)), 400),
    "announced": (announced(filled(WORDS)), 200),
    "for 1000 answers": (many(filled(WORDS, MEGABYTES // 2), 1000), 400),
    "a text": (posted("/classify", input=filled(WORDS)), 400),
    "a text, cut": (posted("/predict", inputs=filled(WORDS), truncate=True), 200),
    "a text, one word, cut": (
        posted("/classify", input=filled("ab"), truncate_prompt_tokens=-1, truncation_side="left"),
        200,
    ),
    "ids": (posted("/classify", input=[7] * 190_000), 400),
    "a query": (posted("/get_reward", query=[filled(WORDS)]), 400),
    "a query and its prompt": (
        posted(
            "/get_reward",
            query=[filled(WORDS, MEGABYTES // 2)],
            prompts=[filled(WORDS, MEGABYTES // 2)],
        ),
        400,
    ),
    "documents": (posted("/rerank", query="q", documents=["d"] * 190_000), 400),
    "lists": (raw("[],"), 400),
    "lists under the limit": (raw("[],", 290_000), 200),
    "objects": (raw('{"a":0},'), 400),
    "depth": (("/v1/score", b"[" * MEGABYTES), 400),
    "messages": (
        (
            "/v1/prefix",
            b'{"messages":[' + filled('{"role":"user","content":""},').encode() + b"1]}",
        ),
        400,
    ),
    "values in arguments": (called("[" + filled("[],") + "1]"), 400),
    "depth in arguments": (called("[" * 100_000 + "]" * 100_000), 400),
}


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@pytest.mark.parametrize("worst", WORST)
@pytest.mark.timeout(300)
def test_nobody_waits_for_one_client(server: tuple[str, psutil.Process], worst: str) -> None:
    address, process = server
    (path, body), status = WORST[worst]
    before = cpu_s(process)
    with (
        probing(address, process.pid) as livez,
        probing(address, process.pid, "/v1/score", SMALL) as score,
    ):
        answer = httpx.post(f"http://{address}{path}", content=body, timeout=120)
        waits = livez(), score(), cpu_s(process) - before
    assert answer.status_code == status, answer.text[:300]
    assert waits[0] < LIVEZ_S, waits
    assert waits[1] < SCORE_S, waits
    assert waits[2] < CPU_S, waits
