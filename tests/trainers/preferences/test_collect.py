"""`bon-train collect` from its command line, against a fake server and a tiny policy."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.trainers.conftest import Serve
from tests.trainers.preferences.helpers import bot, log_line, read, read_lines, user, write_lines
from tests.waiting import wait_until
from trainers.cli import main
from trainers.demo.model import save_untrained_policy
from trainers.demo.tokenizer import build_tokenizer
from trainers.preferences.collect import seed_of
from trainers.preferences.prompts import prompt_key
from trainers.preferences.records import Listwise


def configured(folder: Path, upstream: FakeUpstream | None = None, **settings: Any) -> Path:
    values: dict[str, Any] = {
        "prompts": str(folder / "prompts.jsonl"),
        "output": str(folder / "answers.jsonl"),
    }
    if upstream is not None:
        values["endpoint"] = {
            "url": f"{upstream.url}/v1",
            "model": "fake",
            "backoff_s": 0.001,
            "retries": 1,
        }
    path = folder / "collect.yaml"
    path.write_text(yaml.safe_dump(values | settings), encoding="utf-8")
    return path


def collect(folder: Path, upstream: FakeUpstream | None = None, **settings: Any) -> int:
    return main(["collect", "--config", str(configured(folder, upstream, **settings))])


def prompts(folder: Path, count: int) -> list[dict[str, Any]]:
    lines = [{"prompt": [user(f"question {n}")], "reference": f"r{n}"} for n in range(count)]
    write_lines(folder / "prompts.jsonl", *lines)
    return lines


def figures(folder: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((folder / "answers.report.json").read_text())["figures"]
    return found


def test_every_sample_says_where_it_is_from(tmp_path: Path, serve: Serve) -> None:
    prompts(tmp_path, 3)
    upstream = serve()
    settings: dict[str, Any] = {
        "samples": 3,
        "temperature": 0.7,
        "policy_revision": "r2",
        "seed": 5,
    }
    assert collect(tmp_path, upstream, **settings) == 0
    lines = sorted(read_lines(tmp_path / "answers.jsonl"), key=lambda line: line["reference"])
    assert [line["prompt"] for line in lines] == [[user(f"question {n}")] for n in range(3)]
    assert [line["reference"] for line in lines] == [["r0"], ["r1"], ["r2"]]
    for line in lines:
        seeds = [seed_of(5, prompt_key(line["prompt"]), index) for index in range(3)]
        assert [c["seed"] for c in line["candidates"]] == seeds
        assert len(set(seeds)) == 3
        for candidate in line["candidates"]:
            assert candidate["answer"][0]["role"] == "assistant"
            assert candidate["policy"] == "fake"
            assert candidate["revision"] == "r2"
            assert candidate["temperature"] == 0.7
            assert candidate["finish_reason"] == "stop"
    sent = [call.body for call in upstream.calls]
    assert {(body["temperature"], body["max_tokens"]) for body in sent} == {(0.7, 512)}
    assert {body["seed"] for body in sent} == {
        candidate["seed"] for line in lines for candidate in line["candidates"]
    }


def test_a_dry_run_asks_nobody(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts(tmp_path, 3)
    upstream = serve()
    assert main(["collect", "--config", str(configured(tmp_path, upstream)), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert '"content": "question 0"' in out
    assert out.endswith("prompts: 3\n")
    assert upstream.requests == 0
    assert not (tmp_path / "answers.jsonl").exists()


def test_what_is_written_is_read_as_a_list_without_scores(tmp_path: Path, serve: Serve) -> None:
    prompts(tmp_path, 1)
    assert collect(tmp_path, serve()) == 0
    [found], _ = read(tmp_path / "answers.jsonl")
    assert isinstance(found, Listwise)
    assert [one.score for one in found.candidates] == [None, None]
    assert found.references == ("r0",)
    assert found.candidates[0].source["policy"] == "fake"


def test_a_second_run_asks_for_new_prompts_only(tmp_path: Path, serve: Serve) -> None:
    prompts(tmp_path, 4)
    upstream = serve()
    assert collect(tmp_path, upstream, limit=2) == 0
    first = (tmp_path / "answers.jsonl").read_text()
    # A killed run may leave half a line.
    (tmp_path / "answers.jsonl").write_text(first + '{"prompt": [{"ro')
    assert collect(tmp_path, upstream) == 0
    assert upstream.requests == 8
    lines = read_lines(tmp_path / "answers.jsonl")
    assert (tmp_path / "answers.jsonl").read_text().startswith(first)
    assert sorted(line["prompt"][0]["content"] for line in lines) == [
        f"question {n}" for n in range(4)
    ]
    assert figures(tmp_path)["prompts already there"] == 2
    assert collect(tmp_path, upstream) == 0
    assert upstream.requests == 8


def test_no_more_requests_at_a_time_than_allowed(tmp_path: Path, serve: Serve) -> None:
    prompts(tmp_path, 10)
    upstream = serve(lambda call: Step(delay_s=0.01))
    endpoint = {"url": f"{upstream.url}/v1", "concurrency": 3}
    assert collect(tmp_path, endpoint=endpoint) == 0
    assert upstream.requests == 20
    assert upstream.max_running == 3


def test_failed_prompts_are_counted_and_asked_again(tmp_path: Path, serve: Serve) -> None:
    prompts(tmp_path, 3)
    broken = [True]

    def script(call: Call) -> Step:
        failing = broken[0] and call.body["messages"][0]["content"] == "question 1"
        return Step(status=400, error={"message": "too long"}) if failing else Step()

    upstream = serve(script)
    assert collect(tmp_path, upstream) == 0
    assert len(read_lines(tmp_path / "answers.jsonl")) == 2
    assert figures(tmp_path)["failed: status 400: too long"] == 1
    broken[0] = False
    assert collect(tmp_path, upstream) == 0
    assert len(read_lines(tmp_path / "answers.jsonl")) == 3
    assert not [name for name in figures(tmp_path) if name.startswith("failed")]


def test_a_server_that_is_gone_ends_the_run(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts(tmp_path, 20)
    upstream = serve(lambda call: Step(status=503, error={"message": "busy"}))
    url = f"{upstream.url}/v1"
    endpoint = {"url": url, "retries": 0, "give_up_after": 3, "concurrency": 2}
    assert collect(tmp_path, endpoint=endpoint) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].endswith("3 failures in a row, the last: status 503: busy")
    assert upstream.requests < 20
    # Another prompt may fail while the run is ending.
    assert figures(tmp_path)["failed: status 503: busy"] in (3, 4)


def test_cut_empty_and_equal_answers_are_counted(tmp_path: Path, serve: Serve) -> None:
    prompts(tmp_path, 2)
    texts = {0: "", 1: "same"}

    def script(call: Call) -> Step:
        number = int(call.body["messages"][0]["content"].removeprefix("question "))
        return Step(text=texts[number], finish_reason="length" if number else "stop")

    assert collect(tmp_path, serve(script)) == 0
    found = figures(tmp_path)
    assert found["answers"] == 4
    assert found["answers cut at max_tokens"] == 2
    assert found["empty answers"] == 2
    assert found["answers equal to an earlier one of their prompt"] == 2


def test_prompts_come_from_any_data(tmp_path: Path, serve: Serve) -> None:
    write_lines(
        tmp_path / "prompts.jsonl",
        {"prompt": "one"},
        {"messages": [user("two"), bot("yes")]},
        {"messages": [user("three")]},
        {"instruction": "four"},
        {"prompt": "five", "chosen": "a", "rejected": "b"},
        {"chosen": [user("six"), bot("a")], "rejected": [user("six"), bot("b")]},
        log_line(messages=[user("seven")], error="upstream_failed"),
        log_line(messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
        {"prompt": "one"},
        {"prompt": " "},
        {"question": "eight"},
    )
    assert collect(tmp_path, serve(), skip_bad=True) == 0
    asked = {line["prompt"][0]["content"] for line in read_lines(tmp_path / "answers.jsonl")}
    assert asked == {"one", "two", "three", "four", "five", "six", "seven"}
    report = json.loads((tmp_path / "answers.report.json").read_text())
    assert report["dropped"] == {
        "empty prompt": 1,
        "prompt that is not only text": 1,
        "the same prompt again": 1,
    }
    assert report["bad_line_examples"] == [f"{tmp_path / 'prompts.jsonl'}:11: prompt: missing"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "collect.yaml: either endpoint or policy is needed"),
        (
            {"policy": "p", "endpoint": {"url": "http://127.0.0.1:1"}},
            "collect.yaml: both endpoint and policy are there; leave one out, or set it to null",
        ),
        ({"policy": "p", "temperature": 0}, "temperature: should be greater than 0"),
        ({"policy": "p", "samples": 1}, "samples: should be greater than or equal to 2"),
        ({"policy": "p", "prompts": []}, "prompts: at least one file is expected"),
        ({"policy": "nowhere"}, "nowhere"),
        ({"endpoint": {"url": "here"}}, "endpoint.url: an address that begins with http://"),
        (
            {"endpoint": {"url": "http://x", "api_key_env": "BON_NO_KEY"}},
            "api_key_env: BON_NO_KEY is not set",
        ),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any], message: str
) -> None:
    prompts(tmp_path, 1)
    assert collect(tmp_path, **settings) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert message in error[0]


def test_an_output_that_is_something_else_is_not_appended_to(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts(tmp_path, 1)
    output = write_lines(tmp_path / "answers.jsonl", {"messages": [user("hi")]})
    before = output.read_bytes()
    assert collect(tmp_path, serve()) == 2
    assert f"{output}:1: prompt: missing" in capsys.readouterr().err
    assert output.read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_lose_only_what_is_in_flight(
    number: signal.Signals, tmp_path: Path, serve: Serve
) -> None:
    prompts(tmp_path, 200)
    calls = itertools.count()
    interrupted = threading.Event()

    def answer(call: Call) -> Step:
        # What is asked for later stays in flight, however slow whoever interrupts is.
        late = next(calls) >= 40 and not interrupted.is_set()
        return Step(delay_s=600 if late else 0.02)

    upstream = serve(answer)
    path = configured(tmp_path, upstream)
    process = subprocess.Popen(
        [sys.executable, "-m", "trainers", "collect", "--config", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        wait_until(lambda: upstream.requests > 40, 60, "it asks")
        process.send_signal(number)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    interrupted.set()
    assert process.returncode == 128 + number
    words = "interrupted" if number == signal.SIGINT else "terminated"
    assert error == f"bon-train: {words}\n"
    assert "the same command goes on" in out
    written = read_lines(tmp_path / "answers.jsonl")
    assert 0 < len(written) < 200
    assert figures(tmp_path)["prompts sampled"] == len(written)
    assert collect(tmp_path, upstream) == 0
    lines = read_lines(tmp_path / "answers.jsonl")
    assert lines[: len(written)] == written
    assert len({line["prompt"][0]["content"] for line in lines}) == len(lines) == 200


def test_in_process(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "prompts.jsonl",
        *[{"prompt": f"name {word} toys for a bear"} for word in ("two", "three", "four")],
    )
    save_untrained_policy(build_tokenizer(), tmp_path / "bear", seed=0)
    settings: dict[str, Any] = {
        "policy": str(tmp_path / "bear"),
        "max_tokens": 4,
        "samples": 3,
        "batch_size": 6,
    }
    assert collect(tmp_path, **settings) == 0
    lines = read_lines(tmp_path / "answers.jsonl")
    assert [line["prompt"][0]["content"].split()[1] for line in lines] == ["two", "three", "four"]
    for line in lines:
        assert len(line["candidates"]) == 3
        assert {candidate["policy"] for candidate in line["candidates"]} == {"bear"}
        assert {c["finish_reason"] for c in line["candidates"]} <= {"stop", "length"}
    # Two prompts to a batch: the first two share its seed.
    seeds = [{candidate["seed"] for candidate in line["candidates"]} for line in lines]
    assert seeds[0] == seeds[1] != seeds[2]
    first = (tmp_path / "answers.jsonl").read_bytes()
    assert collect(tmp_path, **settings) == 0
    assert (tmp_path / "answers.jsonl").read_bytes() == first
    (tmp_path / "answers.jsonl").unlink()
    assert collect(tmp_path, **settings) == 0
    assert (tmp_path / "answers.jsonl").read_bytes() == first
    (tmp_path / "answers.jsonl").unlink()
    assert collect(tmp_path, **settings, seed=1) == 0
    assert (tmp_path / "answers.jsonl").read_bytes() != first


def best_of_n(call: Call) -> Step:
    """What the gateway answers with `return_candidates`."""
    assert call.body["bon"] == {"n": 4, "return_candidates": True}
    states = ("finished", "finished", "truncated", "failed")
    candidates: list[dict[str, Any]] = [
        {
            "index": index,
            "status": status,
            "finish_reason": "length" if status == "truncated" else "stop",
            "reward": 0.5 * index if status == "finished" else None,
            "tokens": 3,
            "message": bot(f"answer {index}"),
        }
        for index, status in enumerate(states)
    ]
    del candidates[-1]["message"]
    reply = {
        "choices": [{"index": 0, "message": bot("answer 1"), "finish_reason": "stop"}],
        "bon": {"strategy": "best_of_n", "winner": 1, "candidates": candidates},
    }
    return Step(raw=json.dumps(reply).encode())


def test_a_gateway_brings_all_candidates_with_their_rewards(tmp_path: Path, serve: Serve) -> None:
    prompts(tmp_path, 2)
    upstream = serve(best_of_n)
    assert collect(tmp_path, upstream, samples=4, best_of_n=True, policy_name="p") == 0
    assert upstream.requests == 2
    for line in read_lines(tmp_path / "answers.jsonl"):
        found = [(c["answer"][0]["content"], c.get("score")) for c in line["candidates"]]
        assert found == [("answer 0", 0.0), ("answer 1", 0.5), ("answer 2", None)]
        assert [c["finish_reason"] for c in line["candidates"]] == ["stop", "stop", "length"]
    said = figures(tmp_path)
    assert (said["answers"], said["answers cut at max_tokens"], said["candidates failed"]) == (
        6,
        2,
        2,
    )
    # They are preferences without a labeller.
    config = tmp_path / "prepare.yaml"
    settings = {"input": str(tmp_path / "answers.jsonl"), "output": str(tmp_path / "data")}
    config.write_text(yaml.safe_dump(settings | {"held_out_share": 0}))
    assert main(["prepare", "--config", str(config)]) == 0
    pairs = read_lines(tmp_path / "data" / "train.jsonl")
    assert [(p["chosen"][0]["content"], p["rejected"][0]["content"]) for p in pairs] == [
        ("answer 1", "answer 0")
    ] * 2


def test_an_endpoint_that_is_no_gateway_is_told(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts(tmp_path, 9)
    assert collect(tmp_path, serve(), best_of_n=True) == 2
    assert "is it a bon-gateway's best-of-n model?" in capsys.readouterr().err


@pytest.mark.parametrize("gateway", [True, False])
def test_metadata_goes_to_a_gateway_alone_and_into_the_output(
    tmp_path: Path, serve: Serve, *, gateway: bool
) -> None:
    """Another server may refuse it, and need not know the expected answer."""
    metadata = {"reference": "42"}
    write_lines(tmp_path / "prompts.jsonl", {"prompt": "a", "metadata": metadata}, {"prompt": "b"})
    upstream = serve(best_of_n if gateway else None)
    for _ in range(2):  # the second time it knows the prompts
        assert collect(tmp_path, upstream, samples=4, best_of_n=gateway) == 0
    assert upstream.requests == (2 if gateway else 8)
    for call in upstream.calls:
        [asked] = call.body["messages"]
        expected = metadata if gateway and asked["content"] == "a" else None
        assert call.body.get("metadata") == expected
    written = {one["prompt"][0]["content"]: one for one in read_lines(tmp_path / "answers.jsonl")}
    assert written["a"]["metadata"] == metadata
    assert "metadata" not in written["b"]
