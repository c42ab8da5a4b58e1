"""Transcripts of `Human:` and `Assistant:` turns, as HH-RLHF has them (Bai et al. 2022)."""

from __future__ import annotations

from trainers.base.data import Message
from trainers.base.lines import BadLineError
from trainers.base.prompt_text import TURN

ROLES = {"Human": "user", "Assistant": "assistant"}


def parse_transcript(transcript: str, name: str) -> list[Message]:
    """The turns, stripped; consecutive turns of one speaker are joined.

    Raises BadLineError if the text does not begin with the human's turn.
    """
    before, *parts = TURN.split(transcript)
    if before.strip() or not parts or parts[0] != "Human":
        raise BadLineError(f"{name}: a transcript begins with a blank line and 'Human:'")
    messages: list[Message] = []
    for speaker, said in zip(parts[::2], parts[1::2], strict=True):
        role, content = ROLES[speaker], said.strip()
        if messages and messages[-1]["role"] == role:
            # Chat templates want the roles to alternate.
            content = "\n\n".join(filter(None, (messages.pop()["content"], content)))
        messages.append(Message(role=role, content=content))
    return messages


def transcript_prompt(transcript: str, name: str) -> list[Message]:
    """The turns of a transcript that ends where the assistant is to speak."""
    messages = parse_transcript(f"\n\n{transcript.strip()}", name)
    if messages[-1]["role"] == "assistant" and not messages[-1]["content"]:
        messages.pop()
    return messages
