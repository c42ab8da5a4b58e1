"""BLEU, GLEU and ROUGE of one text against one reference, 0 to 1.

Texts are lowered and cut into words and marks; ROUGE counts words alone. No stemmer and no synonyms
are used, so texts of any language are treated alike.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from bon_common.grading.common_sequence import common_length

LONGEST = 4
"""Words in the longest sequences that BLEU and GLEU count."""
_WORD = re.compile(r"\w+")
_PIECE = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def pieces(text: str) -> list[str]:
    """Words and marks."""
    return _PIECE.findall(text.lower())


def bleu(text: str, reference: str) -> float:
    """The geometric mean of the precisions of sequences of 1 to 4 pieces, times the penalty for a
    short text (Papineni et al. 2002). As in sacrebleu for sentences, a precision of 0 counts as
    half a match, the next one as a quarter and so on, and lengths that the text does not have are
    left out."""
    mine, wanted = pieces(text), pieces(reference)
    if not mine or not wanted:
        return float(mine == wanted)
    total, smooth, counted = 0.0, 1.0, 0
    for size in range(1, min(LONGEST, len(mine)) + 1):
        grams = _grams(mine, size)
        count, found = grams.total(), (grams & _grams(wanted, size)).total()
        if size == 1 and not found:
            return 0.0
        if not found:
            smooth *= 2
        total += math.log((found or 1 / smooth) / count)
        counted += 1
    penalty = min(0.0, 1 - len(wanted) / len(mine))
    return math.exp(penalty + total / counted)


def gleu(text: str, reference: str) -> float:
    """The share of common sequences of 1 to 4 pieces among those of the longer text: the lower of
    precision and recall (Wu et al. 2016, arXiv 1609.08144)."""
    mine, wanted = pieces(text), pieces(reference)
    found = most = 0
    for size in range(1, LONGEST + 1):
        own, other = _grams(mine, size), _grams(wanted, size)
        found += (own & other).total()
        most += max(own.total(), other.total())
    return found / most if most else 1.0


def rouge(text: str, reference: str, size: int) -> float:
    """The F1 of common sequences of ``size`` words (ROUGE-N, Lin 2004)."""
    own, other = _grams(words(text), size), _grams(words(reference), size)
    return _f1((own & other).total(), own.total(), other.total())


def rouge_l(text: str, reference: str) -> float:
    """The F1 of the longest common subsequence of words (ROUGE-L)."""
    mine, wanted = words(text), words(reference)
    return _f1(common_length(mine, wanted), len(mine), len(wanted))


def _grams(elements: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*[elements[start:] for start in range(size)], strict=False))


def _f1(found: int, own: int, other: int) -> float:
    return 2 * found / (own + other) if own and other else 0.0
