"""Models are loaded one at a time in this process.

The Hugging Face library imports its parts lazily and sets torch's default dtype and initialisers
for the whole process while it builds a model: two loads at once fail or spoil each other.
"""

from __future__ import annotations

import threading

LOADING = threading.Lock()
"""Held by the thread that loads a model. What it guards exists once in the process, and so does
it."""
