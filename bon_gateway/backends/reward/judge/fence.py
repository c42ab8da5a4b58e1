"""The mark in the lines around an answer, by which a judge knows where the answer ends.

An answer is data, and it may hold anything: a copy of our own lines, orders to the judge, a grade.
So the mark must be one that no answer can write. It is made with a secret of this process, which no
policy has seen, and it is another one for every conversation. It is the same for all answers to
one, so that they share the judge's cached prefix.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

BYTES = 8


def fence_of(secret: bytes, texts: Iterable[str]) -> str:
    """A mark of 16 hexadecimal digits that stands in none of ``texts``."""
    shown = list(texts)
    digest = hashlib.blake2b(key=secret, digest_size=BYTES)
    digest.update(shown[0].encode("utf-8", "surrogatepass") if shown else b"")
    while any(digest.hexdigest() in text for text in shown):
        # Nobody can write it on purpose; this makes sure that nobody does by accident.
        digest.update(b"again")
    return digest.hexdigest()
