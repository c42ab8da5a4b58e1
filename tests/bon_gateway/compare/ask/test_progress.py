from __future__ import annotations

import io

from bon_gateway.compare.ask.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_says_how_far_it_is() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    progress.begin("closed", 4)
    for _ in range(4):
        progress.step()
    progress.end()
    last = terminal.getvalue().split("\r")[-1]
    assert last.startswith("closed [########################] 4/4 ")
    assert "0 s left" in last
    assert last.endswith("\n")


def test_it_is_silent_where_nobody_watches() -> None:
    file = io.StringIO()
    for progress in (Progress(file), Progress(None)):
        progress.begin("closed", 4)
        progress.step()
        progress.end()
    assert file.getvalue() == ""
