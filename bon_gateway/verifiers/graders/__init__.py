"""OpenAI's grader objects, read unchanged. ``python`` is refused: use your own runner behind
``http``."""
