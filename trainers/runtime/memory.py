"""Which settings that save memory are on, for the terminal and the page of a run."""

from __future__ import annotations

from trainers.base.report import Part
from trainers.base.settings import Settings, flat

SAVING = {
    "dtype": "float32",
    "gradient_checkpointing": False,
    "update.gradient_checkpointing": False,
    "padding_free": False,
    "quantization": None,
    "accumulate": 1,
    "lora.r": None,
}
"""Such settings, with the value at which each saves nothing."""


def memory_line(settings: Settings) -> str:
    """`memory options: dtype bfloat16, lora.r 8`, or that there are none."""
    found = dict(flat(settings.model_dump()))
    on = [(name, found[name]) for name, off in SAVING.items() if found.get(name, off) != off]
    named = [name if value is True else f"{name} {value}" for name, value in on]
    return f"memory options: {', '.join(named) or 'none'}"


def memory_part(settings: Settings, *lines: str) -> Part:
    """The section of the page, with further lines of a trainer's own."""
    return Part("Memory", [f"- {line}" for line in (memory_line(settings), *lines)], {})
