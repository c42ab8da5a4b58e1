"""Answers side by side."""

from __future__ import annotations

import json
from pathlib import Path

from bon_gateway.compare.report.write import render
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.support import BY_GOLD, compare, settings_of

SCORES = {0: 5.0, 1: -4.0, 2: 0.0, 3: 1.0, 4: 2.0, 5: 3.0, 6: 4.0, 7: -1.0}
"""Of ours, by prompt; theirs have 0."""


async def test_the_largest_wins_and_losses_come_first(tmp_path: Path) -> None:
    def script(call: Call) -> Step:
        number = int(call.body["messages"][0]["content"].split()[1])
        ours = call.body["model"] == "ours"
        if ours and number == 7:
            return Step(status=400, error={"message": "no"})
        message = {"role": "assistant", "content": repr(SCORES[number] if ours else 0.0)}
        return Step(raw=json.dumps({"choices": [{"message": message}]}).encode())

    async with FakeUpstream(script) as upstream:
        arms = {name: {"url": upstream.url, "model": name} for name in ("theirs", "ours")}
        arms["ours"]["training"] = "dpo"
        settings = settings_of(
            tmp_path, arms, prompts=8, quality=BY_GOLD, training={"dpo": {"money": 1}}
        )
        results = await compare(settings)
    (shown,) = results.examples
    assert (shown.ours, shown.theirs) == ("ours", "theirs")
    assert [example.prompt for example in shown.wins] == [f"prompt {i}" for i in (0, 6, 5, 4)]
    # The failed request counts as the worst answer of its prompt, which here is theirs: a tie.
    assert [(one.prompt, one.ours.score) for one in shown.losses] == [("prompt 1", -4.0)]
    assert shown.counts == (5, 2, 1)
    page = render(results, {})
    assert page.index("Largest wins of ours") < page.index("Largest losses of ours")
    assert page.index("prompt 0") < page.index("prompt 6") < page.index("prompt 1<")


async def test_long_texts_are_cut_with_a_word(tmp_path: Path) -> None:
    def script(call: Call) -> Step:
        text = "1" + "0" * 3000 if call.body["model"] == "ours" else "1.0"
        message = {"role": "assistant", "content": text}
        return Step(raw=json.dumps({"choices": [{"message": message}]}).encode())

    scorer = {"hook": {"function": "tests.bon_gateway.compare.figures.test_examples:length"}}
    async with FakeUpstream(script) as upstream:
        arms = {name: {"url": upstream.url, "model": name} for name in ("theirs", "ours")}
        arms["ours"]["training"] = "dpo"
        settings = settings_of(
            tmp_path,
            arms,
            prompts=2,
            quality={"scorers": {"length": scorer}, "primary": "length"},
            training={"dpo": {"money": 1}},
        )
        (shown,) = (await compare(settings)).examples
    text = shown.wins[0].ours.text
    assert text is not None
    assert text.endswith("0 [3001 characters]")
    assert len(text) < 2100


def length(messages: object, answer: str) -> float:
    return float(len(answer))
