"""Which candidates may be drawn, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from bon_common.settings.errors import SettingsError
from tests.bon_gateway.replay.kit import candidate, candidates, line, read, write

MESSAGE = {"role": "assistant", "content": "{"}


def test_only_whole_answers_are_drawn_and_the_others_are_counted(tmp_path: Path) -> None:
    made = [
        candidate(0),
        candidate(1, status="truncated", finish_reason="length"),
        candidate(2, status="invalid", reason="not_json", reward=None, message=MESSAGE),
        candidate(3, status="failed", message=None, reward=None, tokens=0),
        candidate(4, status="rejected", message=None, reward=None),
        candidate(5, status="rejected", message=None, reward=None),
        candidate(6, message=None),
    ]
    found = read(write(tmp_path / "p.jsonl", [line(made)]))
    assert [one.index for one in found.pools[0].candidates] == [0, 1, 2]
    assert [one.index for one in found.pools[0].usable] == [0, 1]
    assert found.left_out == {"failed": 1, "rejected": 2, "without a message": 1}
    assert found.invalid == 1


def test_requests_that_are_no_pool_are_counted(tmp_path: Path) -> None:
    lines = [
        line(candidates([1.0, 2.0, 3.0])),
        line(candidates([1.0])),
        line([], error="upstream_error"),
        line(candidates([1.0, 2.0, 3.0]), model="another"),
    ]
    found = read(write(tmp_path / "p.jsonl", lines), model="served", at_least=2)
    assert len(found.pools) == 1
    assert found.requests == 4
    assert found.other_requests == {
        "of another served model": 1,
        "without a candidate to draw": 1,
        "with fewer than 2 candidates to draw": 1,
    }


@pytest.mark.parametrize("key", ["policy", "policy_revision", "reward"])
def test_pools_of_two_sources_are_refused_and_both_are_named(tmp_path: Path, key: str) -> None:
    lines = [line(candidates([1.0])), line(candidates([1.0]), model="other", **{key: "second"})]
    path = write(tmp_path / "p.jsonl", lines)
    with pytest.raises(SettingsError, match="several policies or reward models") as caught:
        read(path)
    assert "second" in str(caught.value)
    assert f"({path}:1)" in str(caught.value)
    assert f"({path}:2)" in str(caught.value)
    assert len(read(path, model="served").pools) == 1


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [line(candidates([1.0]))])
    with pytest.raises(SettingsError, match="pools: hold no request for nobody"):
        read(path, model="nobody")
    with pytest.raises(SettingsError, match="no request is left: 1 with fewer than 5"):
        read(path, at_least=5)
