"""The clients of the soak: what they ask, when they leave, and what they may be answered.

Each answer is held against docs/api.md. What breaks that contract is kept as a short text, which
names statuses and codes and quotes no answer.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

SECRET = "purple-elephant"  # noqa: S105 - stands in every prompt, and must stand in no log
MESSAGES = [{"role": "user", "content": f"name three toys for a {SECRET}"}]
CODES = {
    400: {"invalid_value", "missing_parameter", "unknown_parameter", "invalid_json"},
    404: {"model_not_found"},
    413: {"body_too_large"},
    415: {"unsupported_media_type"},
    502: {"upstream_error"},
    503: {"upstream_unavailable", "upstream_overloaded", "reward_unavailable"},
    504: {"upstream_timeout", "deadline_exceeded"},
}
DEGRADED = {"candidates_failed", "reward_unavailable", "deadline"}
FAULTY = frozenset({200, 502, 503, 504})
"""What a request without a fault of its own may be answered while upstreams fail."""
LONGEST_S = 30.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request and its share of all."""

    name: str
    share: int
    body: Mapping[str, Any]
    statuses: frozenset[int] = FAULTY
    candidates: int = 0
    """That an answer lists."""
    content_type: str = "application/json"
    padding: int = 0
    """Bytes of white space behind the body."""


def _asks(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": MESSAGES, **more}


def _bad(name: str, status: int, body: dict[str, Any], **more: Any) -> Kind:
    return Kind(name, 1, body, frozenset({status}), **more)


KINDS = (
    Kind("separate", 6, _asks("separate"), candidates=4),
    Kind("together", 6, _asks("together"), candidates=4),
    Kind("streamed", 6, _asks("separate", stream=True), candidates=4),
    Kind("first k", 5, _asks("first-k"), candidates=5),
    Kind("deadline", 4, _asks("separate", bon={"deadline_ms": 400, "n": 6}), candidates=6),
    Kind("all messages", 4, _asks("judged", bon={"return_candidates": True}), candidates=4),
    Kind("no fallback", 3, _asks("strict"), candidates=4),
    Kind("one", 4, _asks("one"), candidates=1),
    Kind("one streamed", 8, _asks("one", stream=True), candidates=1),
    _bad("no messages", 400, {"model": "one"}),
    _bad("no such model", 404, _asks("nothing")),
    _bad("too large", 413, _asks("one"), padding=3 << 20),
    _bad("not JSON", 415, _asks("one"), content_type="text/plain"),
)
MOST_BODY_BYTES = 2 << 20


def settings(generators: list[str], reward: str, folder: str) -> dict[str, Any]:
    """Of a gateway that serves all kinds, and records."""
    policy = {"type": "vllm", "urls": generators, "model": "fake", "timeout_s": 3}
    best = {"type": "best_of_n", "n": 4}
    return {
        "policies": {
            "separate": {**policy, "fan_out": "separate"},
            "together": {**policy, "fan_out": "together"},
        },
        "rewards": {
            "server": {"type": "reward_server", "urls": [reward], "timeout_s": 3},
            "classify": {"type": "vllm_classify", "urls": [reward], "timeout_s": 3},
        },
        "models": {
            "separate": {"policy": "separate", "reward": "server", "strategy": best},
            "together": {"policy": "together", "reward": "server", "strategy": best},
            "judged": {"policy": "separate", "reward": "classify", "strategy": best},
            "strict": {
                "policy": "together",
                "reward": "server",
                "strategy": {**best, "fallback": "error"},
            },
            "first-k": {
                "policy": "separate",
                "reward": "server",
                "strategy": {"type": "first_k", "n": 4, "spare": 1},
            },
            "one": {"policy": "together", "strategy": {"type": "single"}},
        },
        "limits": {"max_body_bytes": MOST_BODY_BYTES},
        "recording": {"folder": folder, "max_bytes": 1 << 20, "keep": 2},
    }


@dataclass
class Outcome:
    sent: int = 0
    left: int = 0
    skipped: int = 0
    """Not sent, because so many clients were waiting already."""
    statuses: Counter[int] = field(default_factory=Counter)
    of_kind: Counter[tuple[str, int]] = field(default_factory=Counter)
    degraded: int = 0
    broken_off: int = 0
    """Streams that ended with an error event."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Answers that break the contract."""


@dataclass(frozen=True, slots=True)
class Clients:
    """Sends ``rate`` requests a second, whatever becomes of those before."""

    url: str
    rate: float
    leaving: float
    """The share of clients that leave before they are answered."""
    outcome: Outcome = field(default_factory=Outcome)
    most: int = 64

    async def run(self, seconds: float, seed: int = 0) -> None:
        dice = random.Random(seed)
        loop = asyncio.get_running_loop()
        started = loop.time()
        waiting: set[asyncio.Task[None]] = set()
        weights = [kind.share for kind in KINDS]
        kept = aiohttp.TCPConnector(limit=0)
        new = aiohttp.TCPConnector(limit=0, force_close=True)
        async with (
            aiohttp.ClientSession(connector=kept) as keeps,
            aiohttp.ClientSession(connector=new) as renews,
            asyncio.TaskGroup() as tasks,
        ):
            for number in itertools.count():
                # Compared before the clock's time is added: its rounding may let one more through.
                after = number / self.rate
                if after >= seconds:
                    break
                await asyncio.sleep(max(0.0, started + after - loop.time()))
                if len(waiting) >= self.most:
                    self.outcome.skipped += 1
                    continue
                (kind,) = dice.choices(KINDS, weights)
                # Some leave before anything is generated, some in the midst of a stream.
                patience = dice.uniform(0.005, 0.3) if dice.random() < self.leaving else LONGEST_S
                session = renews if dice.random() < 0.2 else keeps
                task = tasks.create_task(self._ask(session, kind, f"soak-{number}", patience))
                waiting.add(task)
                task.add_done_callback(waiting.discard)

    async def _ask(
        self, session: aiohttp.ClientSession, kind: Kind, name: str, patience: float
    ) -> None:
        outcome = self.outcome
        outcome.sent += 1
        headers = {"content-type": kind.content_type, "x-request-id": name}
        body = orjson.dumps(kind.body) + b" " * kind.padding
        try:
            async with (
                asyncio.timeout(patience),
                session.post(
                    f"{self.url}/v1/chat/completions", data=body, headers=headers
                ) as answer,
            ):
                data = await answer.read()
        except TimeoutError:
            outcome.left += 1
            if patience == LONGEST_S:
                outcome.wrong[f"{kind.name}: no answer in {LONGEST_S} s"] += 1
            return
        except aiohttp.ClientError as error:
            outcome.wrong[f"{kind.name}: {type(error).__name__}"] += 1
            return
        outcome.statuses[answer.status] += 1
        outcome.of_kind[kind.name, answer.status] += 1
        wrong = self._check(kind, answer, data, name)
        if wrong is not None:
            outcome.wrong[f"{kind.name}: {wrong}"] += 1

    def _check(
        self, kind: Kind, answer: aiohttp.ClientResponse, data: bytes, name: str
    ) -> str | None:
        status, headers = answer.status, answer.headers
        if status not in kind.statuses:
            return f"status {status}"
        if headers.get("x-request-id") != name:
            return "another request's id"
        try:
            if status != 200:
                return _wrong_error(status, orjson.loads(data)["error"], headers)
            if kind.body.get("stream"):
                return self._check_stream(kind, data)
            whole = orjson.loads(data)
            return self._check_bon(kind, whole["bon"]) or _wrong_choice(whole["choices"])
        except (orjson.JSONDecodeError, KeyError, TypeError, IndexError) as error:
            return f"an answer of {status} in no such form ({type(error).__name__})"

    def _check_stream(self, kind: Kind, data: bytes) -> str | None:
        events = [
            event.removeprefix(b"data: ")
            for event in data.split(b"\n\n")
            if event.startswith(b"data: ")
        ]
        if not data.endswith(b"\n\n") or not events:
            return "a stream without an end"
        if events[-1] != b"[DONE]":
            self.outcome.broken_off += 1
            error = orjson.loads(events[-1])["error"]
            known = error["code"] in CODES[502] | CODES[503] | CODES[504]
            return None if known else "a stream with another error"
        text = "".join(
            choice["delta"].get("content") or ""
            for event in events[:-1]
            for choice in orjson.loads(event)["choices"]
        )
        if not text:
            return "a stream without text"
        return self._check_bon(kind, orjson.loads(events[-2])["bon"])

    def _check_bon(self, kind: Kind, bon: dict[str, Any]) -> str | None:
        candidates = bon["candidates"]
        degraded = set((bon["degraded"] or "").split(", ")) - {""}
        self.outcome.degraded += bool(degraded)
        if len(candidates) != kind.candidates:
            return f"{len(candidates)} candidates"
        if not degraded <= DEGRADED:
            return f"degraded by {sorted(degraded)}"
        failed = sum(candidate["status"] == "failed" for candidate in candidates)
        if failed and "candidates_failed" not in degraded:
            return "candidates failed and nobody is told"
        winner = candidates[bon["winner"]]
        rewards = [c["reward"] for c in candidates if c.get("reward") is not None]
        if winner["status"] != "finished" or (rewards and winner["reward"] != max(rewards)):
            return "another candidate should have won"
        return None


def _wrong_choice(choices: list[dict[str, Any]]) -> str | None:
    (choice,) = choices
    if not choice["message"]["content"] or choice["finish_reason"] != "stop":
        return "an answer without text"
    return None


def _wrong_error(status: int, error: dict[str, Any], headers: Mapping[str, str]) -> str | None:
    if not error["message"] or not error["type"] or SECRET in error["message"]:
        return f"{status} with a strange message"
    if error["code"] not in CODES[status]:
        return f"{status} with the code {error['code']}"
    if status == 503 and int(headers.get("retry-after", 0)) < 1:
        return "503 without Retry-After"
    return None
