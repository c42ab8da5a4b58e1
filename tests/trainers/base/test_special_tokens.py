from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainers.preferences.helpers import bot, user, write_lines
from trainers.base.bad_lines import BadLines
from trainers.base.data import Pair, read_placed
from trainers.base.special_tokens import with_special_tokens
from trainers.demo.tokenizer import build_tokenizer
from trainers.dpo.data import read_pairs


@pytest.mark.parametrize("place", ["prompt", "chosen", "rejected", None])
def test_records_with_special_tokens_in_their_text_are_counted(
    tmp_path: Path, place: str | None
) -> None:
    tokenizer = build_tokenizer()
    token = tokenizer.eos_token
    line = {"prompt": [user("name a toy")], "chosen": [bot("kite")], "rejected": [bot("ball")]}
    if place is not None:
        line[place][0]["content"] += f" {token}"
    path = write_lines(tmp_path / "d.jsonl", line)
    assert with_special_tokens(tokenizer, read_placed(Pair, path)) == (place is not None)


def test_dpo_says_so(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    pair = {"prompt": [user("a toy")], "chosen": [bot("kite")], "rejected": [bot("ball")]}
    more = pair | {"prompt": [user(f"a {tokenizer.eos_token} toy")]}
    path = write_lines(tmp_path / "d.jsonl", pair, more)
    bad = BadLines()
    read_pairs(path, tokenizer, "demo", max_length=100, bad=bad)
    assert bad.figures() == {"records with special tokens in their text": 1}
