from __future__ import annotations

from bon_common.selection.extract.folded import folded


def test_case_and_white_space_do_not_count() -> None:
    assert folded("  Yes,\n\tIT is. ") == folded("yes, it is.") == "yes, it is."
    assert folded("Stra\u00dfe") == folded("STRASSE")
    assert folded("yes") != folded("yes.")


def test_nothing_is_no_answer() -> None:
    assert folded("") is None
    assert folded(" \n") is None
