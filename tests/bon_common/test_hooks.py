"""Functions that settings name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from bon_common.hooks import is_async, load_hook, load_number_hook
from bon_common.settings.errors import SettingsError

MODULE = """
LIMIT = 3
def length(messages, answer): return len(answer)
def keyword(messages, *, answer): return 0
async def waiting(messages, answer): return 0
async def yielding(messages, answer): yield 0
class Called:
    async def __call__(self, messages, answer): return 0
called = Called()
class Judged:
    def __init__(self, messages, answer): self.total = 2 * len(answer)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "hooks_of_mine.py").write_text(MODULE)
    (tmp_path / "broken_hooks.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_function_is_found() -> None:
    assert load_hook("hooks_of_mine:length", "messages", "answer")([], "four") == 4


def test_functions_that_do_not_tell_what_they_take_are_taken() -> None:
    assert load_hook("builtins:max", "one", "other")(1, 2) == 2


def test_a_number_may_be_in_a_field() -> None:
    plain = load_number_hook("hooks_of_mine:length", None, "messages", "answer", key="k")
    within = load_number_hook("hooks_of_mine:Judged", "total", "messages", "answer", key="k")
    assert (plain([], "four"), within([], "four")) == (4.0, 8.0)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "not_there.at_all:f",
            "cannot be imported: No module named 'not_there'; install it, or put .* on PYTHONPATH",
        ),
        ("broken_hooks:f", "cannot be imported: division by zero"),
        ("hooks_of_mine:missing", "there is no function of this name"),
        ("hooks_of_mine:LIMIT", "it is no function"),
        ("hooks_of_mine:yielding", "it is an async generator; it should return its result"),
        (
            "hooks_of_mine:keyword",
            r"it is called with \(messages, answer\), and takes \(messages, \*, answer\)",
        ),
    ],
)
def test_what_cannot_be_used_is_told(name: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=f"^settings: function: {name}: {reason}$"):
        load_hook(name, "messages", "answer")


@pytest.mark.parametrize("name", ["waiting", "called"])
def test_what_has_to_be_awaited(name: str) -> None:
    found = load_hook(f"hooks_of_mine:{name}", "messages", "answer")
    assert is_async(found)
    assert is_async(partial(found, []))
    assert not is_async(load_hook("hooks_of_mine:length", "messages", "answer"))
    with pytest.raises(SettingsError, match="it is async; here it must be plain"):
        load_number_hook(f"hooks_of_mine:{name}", None, "messages", "answer", key="k")
