"""OpenAI's grader objects, read as they are. ``python`` is refused: the operator's own runner does
that, behind ``http``."""
