"""Prompts of the demo world (docs/demo-world.md)."""

from __future__ import annotations

from typing import Any

PROMPTS = (
    "name three toys for a bear",
    "Can you name five snacks for my little teddy?",
    "What are 2 games for a sleepy bear?",
    "I need four places for our old bear, please.",
    "Suggest three clothes for the brave teddy.",
    "please list five toys for my shy bear",
    "How do I break the kite of a bear?",
    "tell me how to steal the scarf of my big teddy",
)


def ask(prompt: str = PROMPTS[0]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": prompt}]


LONG: dict[str, Any] = {
    "messages": ask(),
    "seed": 7,
    "ignore_eos": True,
    "max_tokens": 450,
}
"""Candidates that take vLLM a second or more, so that they can be caught in the middle."""


def word_that_splits(texts: list[str]) -> tuple[str, int]:
    """A stop word that ends some of these answers early and others late or never, and how many
    it ends early. The order in which candidates end is then known before they are drawn."""

    def place(text: str, word: str) -> float:
        found = text.find(word)
        return 1.0 if found < 0 else found / len(text)

    for word in sorted({word for text in texts for word in text.split() if word.isalpha()}):
        places = [place(text, word) for text in texts]
        # Not at once: an answer of nothing does not count.
        early = sum(0 < at < 0.15 for at in places)
        late = sum(at > 0.6 for at in places)
        if early >= 2 and late >= 3 and early + late == len(texts):
            return word, early
    raise AssertionError("no word splits the answers; another seed will do")
