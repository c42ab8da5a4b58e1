"""The candidates of one request, drawn together.

The prompt is read once, and its cache is then repeated for each candidate. All rows have the same
length, so nothing is padded. A row leaves the batch when its candidate ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bon_gateway.backends.policy.embedded.events import Event, Unfinished
from bon_gateway.backends.policy.embedded.loading import LoadedModel
from bon_gateway.backends.policy.embedded.logprobs import entries
from bon_gateway.backends.policy.embedded.params import SamplingParams
from bon_gateway.backends.policy.embedded.sampler import TokenSampler
from bon_gateway.backends.policy.embedded.text import TextStream
from bon_gateway.errors import PolicyError
from bon_gateway.types import Completion, Delta, Message, Sample
from bon_gateway.watching import PassedCheckpoints


@dataclass(slots=True)
class CandidateRow:
    """One candidate while it grows."""

    index: int
    text: TextStream | None
    """None if nobody reads the text before the end; it is then decoded at the end."""
    ids: list[int] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    ends_with_stop_token: bool = False
    progress: PassedCheckpoints | None = None
    """None if nobody looks at it before its end."""


@dataclass(frozen=True, slots=True)
class GenerationTask:
    """What to generate, and where to report it."""

    prompt: Sequence[int]
    params: SamplingParams
    max_tokens: int
    indices: Sequence[int]
    seeds: Sequence[int]
    """One for each index."""
    stream: bool
    """Whether to report each step of the only candidate."""
    tokens: dict[int, int]
    """Tokens generated so far by candidate index. Written at each step."""
    emit: Callable[[Event], None]
    """Called in the worker thread."""
    checkpoints: Sequence[int] = ()
    """See ``Watch.checkpoints``."""


class GenerationJob:
    """One request in the engine's turns; see ``engine.EngineJob``."""

    def __init__(self, loaded: LoadedModel, task: GenerationTask) -> None:
        params = task.params
        self.cancelled = False
        self._loaded = loaded
        self._task = task
        self._stop_ids = params.stop_token_ids | (
            frozenset() if params.ignore_eos else loaded.eos_ids
        )
        self._rows = [
            CandidateRow(index, self._text_stream(), progress=self._new_progress())
            for index in task.indices
        ]
        self._dropped: frozenset[int] = frozenset()
        """Candidates that were stopped; their rows leave the batch before the next token."""
        self._sampler: TokenSampler | None = None
        self._cache: Any = None
        self._read = 0
        """Prompt tokens that the model has read."""
        self._last: Tensor | None = None
        """The newest token of each row, [M, 1]."""

    @property
    def over(self) -> bool:
        return not self._rows

    def fail(self, error: PolicyError) -> None:
        self._rows = []
        self._task.emit(error)

    def drop(self, index: int) -> None:
        """Stop one candidate. Any thread may call it, one at a time."""
        # A new set, because the worker thread may be reading this one.
        self._dropped |= {index}

    @torch.inference_mode()
    def step(self) -> None:
        """Read the prompt's next chunk, or draw one token for each row."""
        if self._sampler is not None and self._last is not None:
            self._keep_unfinished(self._sampler, self._last[:, 0])
            if self.over:
                return
        logits = self._next_logits()
        if logits is None:
            return
        logits = logits.float()
        sampler = self._sampler or self._new_sampler(logits)
        tokens = sampler.sample(logits)
        if self._task.params.logprobs:
            found = entries(
                logits, tokens, self._task.params.top_logprobs, self._loaded.token_table
            )
            for row, entry in zip(self._rows, found, strict=True):
                row.logprobs.append(entry)
        for row, token in zip(self._rows, tokens.tolist(), strict=True):
            self._append(row, token)
        self._keep_unfinished(sampler, tokens)

    def _next_logits(self) -> Tensor | None:
        """Logits [M, V]; None until the prompt has been read to its end."""
        network = self._loaded.network
        if self._last is not None:
            logits, self._cache = network(self._last, self._cache)
            return logits
        chunk = network.prefill_chunk or len(self._task.prompt)
        piece = list(self._task.prompt[self._read : self._read + chunk])
        tokens = torch.tensor([piece], device=self._loaded.device)
        logits, self._cache = network(tokens, self._cache)
        self._read += len(piece)
        if self._read < len(self._task.prompt):
            return None
        if len(self._rows) > 1:
            rows = torch.zeros(len(self._rows), dtype=torch.long, device=logits.device)
            network.take(self._cache, rows)
        return logits.expand(len(self._rows), -1)

    def _new_sampler(self, logits: Tensor) -> TokenSampler:
        task = self._task
        self._sampler = TokenSampler(
            task.params,
            task.prompt,
            task.seeds,
            banned=sorted(self._loaded.eos_ids | task.params.stop_token_ids),
            vocabulary=logits.shape[-1],
            device=logits.device,
        )
        return self._sampler

    def _append(self, row: CandidateRow, token: int) -> None:
        """Add a row's new token, and end the row if it is its last."""
        row.ids.append(token)
        if not self.cancelled:
            self._task.tokens[row.index] = len(row.ids)
        params = self._task.params
        fresh = ""
        if token in self._stop_ids:
            row.finish_reason = "stop"
            row.ends_with_stop_token = True
            if token in params.stop_token_ids:
                row.stop_reason = token
        if row.text is not None and not self._hides_last(row):
            fresh = row.text.push(token)
            if row.text.stopped_by is not None and row.finish_reason is None:
                row.finish_reason, row.stop_reason = "stop", row.text.stopped_by
        if row.finish_reason is None and len(row.ids) >= self._task.max_tokens:
            row.finish_reason = "length"
        if row.text is not None and row.finish_reason is not None:
            fresh += row.text.finish()
        if self._task.stream:
            self._tell_step(row, fresh)
        elif row.finish_reason is not None:
            self._task.emit(Sample(row.index, self._completion(row)))
        elif row.progress is not None:
            checkpoint = row.progress.passed(len(row.ids))
            if checkpoint is not None:
                self._task.emit(Unfinished(row.index, checkpoint, self._message(row)))

    def _keep_unfinished(self, sampler: TokenSampler, tokens: Tensor) -> None:
        keep = [
            place
            for place, row in enumerate(self._rows)
            if row.finish_reason is None and row.index not in self._dropped
        ]
        if len(keep) < len(self._rows):
            self._rows = [self._rows[place] for place in keep]
            if not keep:
                self._cache = None
                return
            positions = torch.tensor(keep, device=tokens.device)
            tokens = tokens[positions]
            sampler.select(keep)
            self._loaded.network.take(self._cache, positions)
        self._last = tokens[:, None]

    def _hides_last(self, row: CandidateRow) -> bool:
        """Whether the row's last token is a stop token that does not belong to the text."""
        return row.ends_with_stop_token and not self._task.params.include_stop_str_in_output

    def _text_stream(self) -> TextStream | None:
        params = self._task.params
        if not params.stop and not self._task.stream:
            return None
        return TextStream(
            self._decode,
            params.stop,
            include_stop=params.include_stop_str_in_output,
            min_tokens=params.min_tokens,
        )

    def _decode(self, ids: Sequence[int]) -> str:
        return self._loaded.decode(ids, skip_special_tokens=self._task.params.skip_special_tokens)

    def _new_progress(self) -> PassedCheckpoints | None:
        return PassedCheckpoints(self._task.checkpoints) if self._task.checkpoints else None

    def _message(self, row: CandidateRow) -> Message:
        if row.text is not None:
            content = row.text.text
        else:
            content = self._decode(row.ids[:-1] if self._hides_last(row) else row.ids)
        return {"role": "assistant", "content": content}

    def _completion(self, row: CandidateRow) -> Completion:
        assert row.finish_reason is not None
        extra: dict[str, Any] = {} if row.stop_reason is None else {"stop_reason": row.stop_reason}
        response_extra = {}
        if self._task.params.return_token_ids:
            extra["token_ids"] = row.ids
            response_extra["prompt_token_ids"] = list(self._task.prompt)
        return Completion(
            message=self._message(row),
            finish_reason=row.finish_reason,
            tokens=len(row.ids),
            prompt_tokens=len(self._task.prompt),
            logprobs={"content": row.logprobs} if self._task.params.logprobs else None,
            extra=extra,
            response_extra=response_extra,
        )

    def _tell_step(self, row: CandidateRow, fresh: str) -> None:
        """Report a stream's step: first the role, then text, at the end the reason."""
        if len(row.ids) == 1:
            self._tell(row, {"delta": {"role": "assistant", "content": ""}})
        extra: dict[str, Any] = {}
        if self._task.params.logprobs:
            extra["logprobs"] = {"content": row.logprobs[-1:]}
        if self._task.params.return_token_ids:
            extra["token_ids"] = row.ids[-1:]
        if fresh or extra:
            self._tell(row, {"delta": {"content": fresh}, **extra})
        if row.finish_reason is not None:
            stop = {} if row.stop_reason is None else {"stop_reason": row.stop_reason}
            self._tell(row, {"delta": {}, "finish_reason": row.finish_reason, **stop})

    def _tell(self, row: CandidateRow, choice: dict[str, Any]) -> None:
        choice.setdefault("finish_reason", None)
        self._task.emit(Delta(choice, tokens=len(row.ids), prompt_tokens=len(self._task.prompt)))
