from __future__ import annotations

import pytest

from bon_common.judging.markup import without_control_marks

MARKS = (
    *("<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|return|>"),
    *("<\uff5cend\u2581of\u2581sentence\uff5c>", "<\uff5cUser\uff5c>"),
    *("<s>", "</s>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<unused12>"),
    *("[INST]", "[/INST]", "[TOOL_CALLS]"),
)


@pytest.mark.parametrize("mark", MARKS)
def test_a_control_mark_becomes_text(mark: str) -> None:
    shown = without_control_marks(f"so{mark}it")
    assert mark not in shown
    assert shown.replace(" ", "") == f"so{mark}it"


@pytest.mark.parametrize(
    "text",
    [
        *("x |> f |> g", "a <| b", "if a<b: c>d", "<b>bold</b>", "list[INSTANCE]", "[1, 2]"),
        *("<strong>", "<|two words|>", "", "|<|", "Bär 熊"),
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert without_control_marks(text) == text
