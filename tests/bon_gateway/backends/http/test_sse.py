"""Events are the same however the network cuts the bytes, and whatever ends the lines."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_gateway.backends.http.connection import UnusableAnswerError
from bon_gateway.backends.http.sse import EventParser

LINE = st.text(st.characters(blacklist_characters="\r\n", codec="utf-8"), max_size=20)


def parse(stream: bytes, cuts: list[int] | None = None, limit: int = 1 << 20) -> list[bytes]:
    parser = EventParser(limit)
    places = [0, *sorted(cuts or ()), len(stream)]
    events = [e for a, b in itertools.pairwise(places) for e in parser.feed(stream[a:b])]
    return [*events, *parser.end()]


@given(
    events=st.lists(st.lists(LINE, min_size=1, max_size=3), max_size=4),
    end=st.sampled_from(["\n", "\r", "\r\n"]),
    mark=st.booleans(),
    comment=LINE,
    data=st.data(),
)
def test_any_cut_and_any_line_end_give_the_same_events(
    events: list[list[str]], end: str, mark: bool, comment: str, data: st.DataObject
) -> None:
    text = "".join(
        f":{comment}{end}" + "".join(f"data: {line}{end}" for line in event) + f"id: 1{end}{end}"
        for event in events
    )
    stream = b"\xef\xbb\xbf" * mark + text.encode()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    expected = ["\n".join(event).encode() for event in events]
    assert parse(stream, cuts) == [event for event in expected if event]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_single_byte_alone(end: bytes) -> None:
    stream = b"\xef\xbb\xbf" + end.join([b"data:a", b"data: b", b"", b"data", b"", b"data:c", b""])
    assert parse(stream, list(range(len(stream)))) == [b"a\nb", b"c"]


def test_the_end_of_the_stream_ends_the_last_event() -> None:
    assert parse(b"data: a\n\ndata: [DONE]") == [b"a", b"[DONE]"]


@pytest.mark.parametrize(
    "stream", [b"data: " + b"x" * 200, b"data: xxxxxxxx\n" * 20, b": " + b"x" * 200]
)
@pytest.mark.parametrize("size", [1, 7, 60])
def test_an_event_without_end_is_refused(stream: bytes, size: int) -> None:
    with pytest.raises(UnusableAnswerError, match="larger than 100"):
        parse(stream, list(range(0, len(stream), size)), limit=100)


@given(cuts=st.lists(st.integers(0, 5000), max_size=60))
def test_many_events_within_the_limit_are_not_added_up(cuts: list[int]) -> None:
    stream = b"data: " + b"\n\ndata: ".join([b"x" * 40] * 100) + b"\n\n"
    assert parse(stream, [min(cut, len(stream)) for cut in cuts], limit=100) == [b"x" * 40] * 100
