"""Files of pools: whole or not at all, equal on every day, and readable by the trainers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.real_study import candidate, line, module
from trainers.preferences.readers.candidate_log import CandidateLogReader
from trainers.preferences.readers.options import ReadOptions
from trainers.preferences.tally import Tally

pools = module("pools")
measure = module("measure")
layout = module("layout")
rescore = module("rescore")


@pytest.mark.parametrize("name", ["pool.jsonl", "pool.jsonl.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    lines = [line("é?", [candidate("2", 1, 0.5, logprob=-0.25, rewards={"weak": 3.0})])]
    pools.write_lines(tmp_path / name, lines)
    first = (tmp_path / name).read_bytes()
    assert list(pools.read_lines(tmp_path / name)) == lines
    pools.write_lines(tmp_path / name, lines)
    assert (tmp_path / name).read_bytes() == first
    [found] = pools.read_pools(tmp_path / name)
    assert (found.prompt, found.task, found.golds) == ("é?", "sums", [1])
    assert found.answer.others == {"weak": 3.0}


def test_a_line_that_a_killed_process_left_half_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\n{"b": ', encoding="utf-8")
    assert list(pools.read_lines(path)) == [{"a": 1}]


def test_lost_candidates_do_not_shift_the_winner() -> None:
    lost = {**candidate("", 0), "status": "failed", "message": None}
    found = pools.pool_of(line("?", [lost, candidate("2", 1), candidate("3", 0)], winner=1))
    assert found.answer.text == "2"
    assert len(found.drawn) == 2


def test_the_trainers_read_a_pool() -> None:
    written = line("?", [candidate("2", 1, 0.5, rewards={"weak": 3.0}), candidate("3", 0, 0.25)])
    [read] = CandidateLogReader().read(written, Tally(), ReadOptions())
    assert [one.score for one in read.candidates] == [0.5, 0.25]


def test_a_part_of_the_prompts_and_all_parts_together() -> None:
    assert measure.part(list(range(7)), "2/3") == [3, 4, 5]
    assert [one for n in (1, 2, 3) for one in measure.part(list(range(7)), f"{n}/3")] == [*range(7)]


def test_a_pool_is_gathered_from_whole_answers_of_its_tag(tmp_path: Path) -> None:
    place = layout.Layout(tmp_path, smoke=True)
    arm = layout.Arm("sft-pool", "sft", 1.0, 2)
    prompt = "What is the capital of France?"
    drawn = [
        {key: value for key, value in candidate(text, 0, 0.5).items() if key != "gold"}
        for text in ("Paris", "Lyon")
    ]
    logged = [
        line(prompt, drawn, request_id="sft-pool-old-00000"),
        line(prompt, drawn, request_id="sft-pool-now-00000", degraded="reward_unavailable"),
        line(prompt, drawn, request_id="sft-pool-now-00000"),
    ]
    for one in logged:
        del one["task"]
    pools.write_lines(place.logs / "candidates-1.jsonl", logged)
    asked = [measure.Asked(0, prompt, "capitals"), measure.Asked(1, "another", "capitals")]
    assert measure.gather(place, arm, "now", asked) == 1
    [found] = pools.read_pools(place.pool("sft-pool"))
    assert found.task == "capitals"
    assert found.golds == [1, 0]
    assert measure.gather(place, arm, "new", asked) == 0


def test_a_beginning_is_the_first_share_of_the_tokens() -> None:
    class Tokens:
        """A token a letter."""

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [*map(ord, text)]}

        def decode(self, ids: list[int]) -> str:
            return "".join(map(chr, ids))

    found = rescore.beginnings(Tokens(), ["Paris", "12", "abcdefgh"], 0.25)
    assert found == {"Paris": "Pa", "abcdefgh": "ab"}
