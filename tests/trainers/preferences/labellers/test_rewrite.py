"""`bon-train label` by rewriting."""

from __future__ import annotations

from pathlib import Path

from bon_gateway.testing.script import Call, Step
from tests.trainers.conftest import Serve
from tests.trainers.preferences.helpers import (
    read_lines,
    write_lines,
)
from tests.trainers.preferences.labelling import (
    label,
    report,
    texts_of,
)


def test_rewrites_are_preferred(tmp_path: Path, serve: Serve) -> None:
    write_lines(
        tmp_path / "answers.jsonl",
        *[
            {"prompt": "hi", "answer": text, "metadata": {"n": 1}}
            for text in ("bad", "fine", "long", "mute")
        ],
    )

    def script(call: Call) -> Step:
        answer = call.body["messages"][0]["content"].rpartition("# Answer\n")[2]
        text = {"bad": "good", "fine": "fine", "long": "more", "mute": " "}[answer]
        return Step(text=text, finish_reason="length" if answer == "long" else "stop")

    endpoint = {"url": f"{serve(script).url}/v1"}
    assert label(tmp_path, {"type": "rewrite", "endpoint": endpoint}) == 0
    assert texts_of(tmp_path / "out.jsonl") == [("good", "bad")]
    assert read_lines(tmp_path / "out.jsonl")[0]["metadata"] == {"n": 1}
    assert report(tmp_path)["dropped"] == {
        "empty rewrite": 1,
        "rewrite cut at its token limit": 1,
        "rewrite equals the answer": 1,
    }
