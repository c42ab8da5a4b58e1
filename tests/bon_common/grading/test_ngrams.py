"""BLEU, GLEU and ROUGE give the numbers of the well-known libraries."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.gleu_score import sentence_gleu
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from bon_common.grading.ngrams import bleu, gleu, pieces, rouge, rouge_l

TEXTS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "mat", "a", "."]), max_size=14).map(
    " ".join
)
SIZES = ["rouge1", "rouge2", "rouge3", "rouge4", "rouge5", "rougeL"]
SCORER = RougeScorer(SIZES, use_stemmer=False)
PLAIN = BLEU(tokenize="none", effective_order=True, smooth_method="exp")


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_rouge(text: str, reference: str) -> None:
    expected = SCORER.score(reference, text)
    for size in range(1, 6):
        assert rouge(text, reference, size) == pytest.approx(expected[f"rouge{size}"].fmeasure)
    assert rouge_l(text, reference) == pytest.approx(expected["rougeL"].fmeasure)


@settings(deadline=None)
@given(TEXTS.filter(bool), TEXTS.filter(bool))
def test_bleu(text: str, reference: str) -> None:
    expected = PLAIN.sentence_score(text, [reference]).score / 100
    assert bleu(text, reference) == pytest.approx(expected)


@settings(deadline=None)
@given(TEXTS.filter(bool), TEXTS.filter(bool))
def test_gleu(text: str, reference: str) -> None:
    assert gleu(text, reference) == pytest.approx(sentence_gleu([text.split()], reference.split()))


@pytest.mark.parametrize("measure", [bleu, gleu, rouge_l])
def test_equal_and_empty_texts(measure: type) -> None:
    assert measure("The cat sat.", "the cat sat.") == pytest.approx(1)
    assert measure("", "the cat") == 0
    assert measure("dogs", "the cat") == 0


def test_marks_are_pieces_of_their_own() -> None:
    assert pieces("It's 5%, Ms. Ärzte") == ["it", "'", "s", "5", "%", ",", "ms", ".", "ärzte"]
