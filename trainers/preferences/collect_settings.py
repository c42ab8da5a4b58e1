"""Settings of `collect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from trainers.base.settings import Positive, Settings
from trainers.endpoint.settings import ChatSettings


class CollectSettings(Settings):
    """Several answers to each prompt, from a server or from a policy in this process."""

    prompts: tuple[Path, ...]
    """`{prompt}` or `{messages}` lines, or any preference data; only its prompts are read."""
    output: Path
    """JSONL in the listwise form, without scores. Prompts that it already holds are skipped."""
    endpoint: ChatSettings | None = None
    """The server to ask; or"""
    policy: Path | None = None
    """the checkpoint folder to sample from in this process."""
    device: str = "cpu"
    """Where the policy runs: a name of torch's, or auto for a GPU if there is one."""
    policy_name: str | None = None
    """What the samples say they are from; otherwise the served name, or the folder's."""
    policy_revision: str | None = None
    """Which state of the policy that is, where it changes."""
    samples: Annotated[int, Field(ge=2)] = 2
    """Answers to each prompt."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """At 0 all answers would be equal, and there would be nothing to compare."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The nucleus that answers are drawn from; 1 is all tokens."""
    max_tokens: Positive = 512
    """Answers are cut here."""
    seed: int = 0
    """Each answer's own seed comes from it."""
    limit: Positive | None = None
    """Only the first prompts."""
    batch_size: Positive = 64
    """Answers drawn at a time in this process."""
    skip_bad: bool = False
    """Count lines that cannot be read instead of stopping at the first."""

    @field_validator("prompts", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    @model_validator(mode="after")
    def _one_source(self) -> CollectSettings:
        if not self.prompts:
            raise ValueError("prompts: at least one file is expected")
        if (self.endpoint is None) == (self.policy is None):
            raise ValueError("either endpoint or policy is needed")
        return self

    @property
    def source_name(self) -> str:
        if self.policy_name is not None:
            return self.policy_name
        if self.policy is not None:
            return self.policy.name
        assert self.endpoint is not None
        return self.endpoint.model or self.endpoint.url
