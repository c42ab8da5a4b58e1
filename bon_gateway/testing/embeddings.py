"""The fake embedder's answers: OpenAI's ``/v1/embeddings``."""

from __future__ import annotations

from collections import Counter

import orjson

from bon_gateway.testing.script import Call, Step

DIMENSIONS = 32


def embed(call: Call, _step: Step, model: str) -> bytes:
    """A text's vector counts its words, so that texts with the same words are alike."""
    texts = call.body["input"]
    tokens = sum(len(text.split()) + 1 for text in texts)
    answer = {
        "id": f"embd-{call.ordinal}",
        "object": "list",
        "created": 0,
        "model": model,
        "data": [
            {"index": place, "object": "embedding", "embedding": fake_vector(text)}
            for place, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }
    return orjson.dumps(answer)


def fake_vector(text: str) -> list[float]:
    """Words count by their lengths, so that tests can work out short texts by hand."""
    counts = Counter(len(word) % DIMENSIONS for word in text.split())
    return [float(counts[place]) for place in range(DIMENSIONS)]
