"""What is remembered of earlier requests, for strategies that learn from them."""

from __future__ import annotations

from bon_gateway.sections.base import Section


class HistorySettings(Section):
    folder: str | None = None
    """Folder that keeps what ``adaptive`` and ``pruning`` have learnt of rewards over a restart:
    for each served model and process a file of up to 500 KB, with numbers alone and no text. None
    forgets it, and both begin to learn anew."""
