"""One pass: as it is, token by token where the client streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bon_gateway.errors import BadRequestError, DeadlineError, PolicyFailedError
from bon_gateway.protocols import Trace
from bon_gateway.strategies.single import Single, SingleSettings
from bon_gateway.testing.fakes import Act, FakePolicy, completion
from bon_gateway.types import ChatRequest, Delta

Ask = Callable[..., ChatRequest]
BROKEN = PolicyFailedError("broken")


@dataclass
class Sink:
    deltas: list[Delta] = field(default_factory=list)

    async def send(self, index: int, delta: Delta) -> None:
        assert index == 0
        self.deltas.append(delta)


def single(**settings: int) -> Single:
    return Single(SingleSettings(type="single", **settings))


async def test_the_sample_passes_through_even_if_it_is_empty_or_cut(ask: Ask) -> None:
    cut = completion("", finish_reason="length")
    selection = await single().run(ask(), FakePolicy({0: Act((cut,))}), None, Trace())
    assert selection.winner.completion == cut
    assert selection.winner.reward is None
    assert selection.usage.discarded_tokens == 0


async def test_streaming_sends_each_delta_and_selects_the_whole(ask: Ask) -> None:
    sink = Sink()
    selection = await single().run(ask(), FakePolicy(), None, Trace(sink=sink))
    texts = [(d.choice or {}).get("delta", {}).get("content", "") for d in sink.deltas]
    assert "".join(texts) == "one two three"
    assert len(texts) > 3
    completed = selection.winner.completion
    assert completed is not None
    assert completed.message["content"] == "one two three"
    assert completed.finish_reason == "stop"
    assert (completed.tokens, completed.prompt_tokens) == (3, 5)


async def test_a_failure_before_the_first_delta_is_tried_again(ask: Ask) -> None:
    policy = FakePolicy({0: Act((BROKEN, completion("one two")))})
    selection = await single().run(ask(), policy, None, Trace(sink=Sink()))
    assert selection.winner.completion is not None
    assert policy.attempts[0] == 2


async def test_retries_end(ask: Ask) -> None:
    policy = FakePolicy({0: Act((BROKEN,))})
    with pytest.raises(PolicyFailedError):
        await single(retries=2).run(ask(), policy, None, Trace(sink=Sink()))
    assert policy.attempts[0] == 3


@pytest.mark.parametrize("streams", [True, False])
async def test_the_deadline_ends_it(ask: Ask, streams: bool) -> None:
    policy = FakePolicy({0: Act((completion("one two three"),), delay=30)})
    with pytest.raises(DeadlineError):
        await single(deadline_ms=50).run(
            ask(), policy, None, Trace(sink=Sink() if streams else None)
        )
    assert policy.running == 0


async def test_one_answer_is_all_there_is(ask: Ask) -> None:
    with pytest.raises(BadRequestError):
        await single().run(ask(top=2), FakePolicy(), None, Trace())
