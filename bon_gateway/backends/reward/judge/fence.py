"""The mark in the lines around an answer, which shows a judge where the answer ends.

An answer is data, and it may hold anything: a copy of our own lines, orders to the judge, a grade.
So no answer may be able to write the mark. A secret of this process, which no policy has seen, goes
into it, and every conversation has its own. All answers to one conversation have the same, so that
they share the judge's cached prefix.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

BYTES = 8


def fence_of(secret: bytes, texts: Iterable[str]) -> str:
    """A mark of 16 hexadecimal digits that none of ``texts`` contains."""
    shown = list(texts)
    digest = hashlib.blake2b(key=secret, digest_size=BYTES)
    digest.update(shown[0].encode("utf-8", "surrogatepass") if shown else b"")
    while any(digest.hexdigest() in text for text in shown):
        # No text can contain it on purpose; this rules out an accident.
        digest.update(b"again")
    return digest.hexdigest()
