from __future__ import annotations

import time

import pytest

from bon_common.selection.extract.fences import unfenced


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("```json\n1\n```", "1\n"),
        (" ```\r\n1\r\n``` ", "1\r\n"),
        ("``` json\n1```", "1"),
        ("```json 1```", " 1"),
        ("```1```", "1"),
        ("~~~text\n```\n~~~", "```\n"),
        ("````\n```\n````", "```\n"),
        (" 1 ", "1"),
        ("see ```1```", "see ```1```"),
        ("```1``` and ```2", "```1``` and ```2"),
        ("```1~~~", "```1~~~"),
    ],
)
def test_the_text_in_the_fence(text: str, inner: str) -> None:
    assert unfenced(text) == inner


@pytest.mark.parametrize("part", ["`", "~", "` ", "```", "``` ", "```\n", "a", " ", "```a ", "\r"])
def test_no_text_takes_long(part: str) -> None:
    started = time.process_time()
    unfenced("```" + part * (200_000 // len(part)) + "x")
    assert time.process_time() - started < 2
