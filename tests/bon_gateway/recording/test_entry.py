from __future__ import annotations

import json
from math import nan
from typing import Any

import msgspec
import pytest
from msgspec import structs

from bon_gateway.recording.entry import is_sampled, to_line
from bon_gateway.recording.redaction import Redaction
from bon_gateway.replay.log import RecordedRequest
from bon_gateway.testing.fakes import completion
from bon_gateway.types import Candidate, CandidateStatus
from tests.bon_gateway.recording.kit import entry, request, selection

PLAIN = Redaction((), ())


def test_a_record_says_what_was_asked_drawn_and_chosen() -> None:
    line = to_line(entry(chosen=selection()), PLAIN, with_sampling=True)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "v": 1,
        "ts": "2026-01-31T12:00:00.123Z",
        "request_id": "req-1",
        "model": "assistant",
        "policy": "base",
        "policy_revision": "v7",
        "reward": "helpful",
        "strategy": "best_of_n",
        "n": 2,
        "messages": [{"role": "user", "content": "name three toys"}],
        "sampling": {"temperature": 0.9, "max_tokens": 64},
        "seed": 7,
        "candidates": [
            {
                "index": 0,
                "status": "finished",
                "finish_reason": "stop",
                "reward": 1.25,
                "tokens": 12,
                "message": {"role": "assistant", "content": "Try kite."},
                "reason": None,
            },
            {
                "index": 1,
                "status": "failed",
                "finish_reason": None,
                "reward": None,
                "tokens": 0,
                "message": None,
                "reason": "upstream_error",
            },
        ],
        "winner": 0,
        "degraded": "candidates_failed, deadline",
        "error": None,
    }


@pytest.mark.parametrize(
    ("logprobs", "written"),
    [
        ({"content": [{"logprob": -0.5}, {"logprob": -1.25}]}, {"logprob": -1.75}),
        ({"content": []}, {}),
        ({"content": [{"token": "a"}]}, {}),
        ({"content": ["a"]}, {}),
        (None, {}),
    ],
)
def test_the_sum_of_the_logprobs_is_kept_where_they_can_be_read(
    logprobs: Any, written: dict[str, float]
) -> None:
    drawn = structs.replace(completion(), logprobs=logprobs)
    candidate = Candidate(0, CandidateStatus.FINISHED, drawn, 0.5, 3)
    chosen = structs.replace(selection(), candidates=(candidate,))
    line = to_line(entry(chosen=chosen), PLAIN, with_sampling=True)
    [found] = json.loads(line)["candidates"]
    assert {key: found[key] for key in found if key == "logprob"} == written


def test_partial_rewards_are_kept_where_there_are_some() -> None:
    """In the form that ``replay`` reads."""
    seen = Candidate(
        0,
        CandidateStatus.REJECTED,
        tokens=40,
        reason="pruned",
        partial_rewards=((16, 0.5), (32, -1.0)),
    )
    unseen = Candidate(1, CandidateStatus.FINISHED, completion(), 0.5, 3)
    chosen = structs.replace(selection(), candidates=(seen, unseen), winners=(1,))
    line = to_line(entry(chosen=chosen), PLAIN, with_sampling=True)
    first, second = json.loads(line)["candidates"]
    assert first["partial_rewards"] == [[16, 0.5], [32, -1.0]]
    assert "partial_rewards" not in second
    request = msgspec.json.decode(line, type=RecordedRequest)
    assert request.candidates[0].partial_rewards == ((16, 0.5), (32, -1.0))


def test_a_failed_request_has_its_error_and_no_candidates() -> None:
    record = json.loads(to_line(entry(error="upstream_error"), PLAIN, with_sampling=True))
    assert record["error"] == "upstream_error"
    assert (record["candidates"], record["winner"], record["degraded"]) == ([], None, None)
    assert record["n"] == 8


def test_sampling_parameters_can_be_left_out() -> None:
    record = json.loads(to_line(entry(), PLAIN, with_sampling=False))
    assert record["sampling"] == {}
    assert record["seed"] == 7


def test_what_json_cannot_hold_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        to_line(entry(request(sampling={"x": object()})), PLAIN, with_sampling=True)


def test_line_breaks_in_texts_do_not_break_the_line() -> None:
    text = "one\ntwo\u2028three \U0001f9f8"
    line = to_line(entry(chosen=selection(text)), PLAIN, with_sampling=True)
    assert line.count(b"\n") == 1
    assert json.loads(line)["candidates"][0]["message"]["content"] == text


def test_a_number_that_is_none_becomes_null() -> None:
    line = to_line(entry(request(sampling={"x": nan})), PLAIN, with_sampling=True)
    assert json.loads(line)["sampling"] == {"x": None}


IDS = [f"req-{i}" for i in range(4000)]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_of_sampled_ids_is_the_rate(rate: float) -> None:
    share = sum(is_sampled(name, rate) for name in IDS) / len(IDS)
    # Five standard deviations of the share of 4000 independent draws.
    assert abs(share - rate) < 5 * (rate * (1 - rate) / len(IDS)) ** 0.5


def test_the_id_alone_decides() -> None:
    assert is_sampled("req-1", 1.0)
    assert not any(is_sampled(name, 0.0) for name in IDS)
    assert all(is_sampled(name, 1.0) for name in IDS)
    # An id of a smaller share is in every larger one, and known values stay as they are: another
    # worker, or the next release, decides alike.
    assert all(is_sampled(name, 0.5) for name in IDS if is_sampled(name, 0.2))
    known = [True, True, True, True, True, False, True, False]
    assert [is_sampled(name, 0.5) for name in IDS[:8]] == known


def test_whatever_a_client_decides_is_redacted() -> None:
    card = 4111111111111111
    asked = request(request_id=f"card-{card}", seed=card, sampling={"user": str(card)})
    line = to_line(entry(asked, selection(f"card {card}")), Redaction((r"\d{16}",), ()),
                   with_sampling=True)  # fmt: skip
    assert str(card).encode() not in line
    record = json.loads(line)
    assert record["request_id"] == "card-[redacted]"
    assert record["seed"] is None


def test_what_each_member_of_an_ensemble_gave_is_kept_where_there_is_one() -> None:
    rewards = {"helpful": 1.5, "safe": -0.5}
    candidates = [
        Candidate(0, CandidateStatus.FINISHED, completion("so"), 0.5, rewards=rewards),
        Candidate(1, CandidateStatus.FINISHED, completion("no"), 0.25),
    ]
    chosen = structs.replace(selection(), candidates=tuple(candidates))
    line = json.loads(to_line(entry(chosen=chosen), PLAIN, with_sampling=True))
    assert line["candidates"][0]["rewards"] == rewards
    assert "rewards" not in line["candidates"][1]
