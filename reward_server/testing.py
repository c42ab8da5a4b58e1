"""Stand-ins for the model and its tokenizer, for tests of what is built on a scorer.

They need no torch: one token is one character, and rewards are whatever a function says.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from bon_common.process_reward import StepReading
from reward_server.info import ModelInfo
from reward_server.metrics import ModelMetrics
from reward_server.model_settings import ModelSettings
from reward_server.network.forward import Work
from reward_server.network.sequence import Ids, Output, Rendered
from reward_server.scoring.render import Renderer
from reward_server.scoring.scorer import Scorer


class CharacterTokenizer:
    """The part of a tokenizer that the renderer uses; `<` opens a turn and `>` closes one."""

    chat_template = "characters"
    bos_token_id = None
    unk_token_id = None

    def __len__(self) -> int:
        return sys.maxunicode + 1

    def get_added_vocab(self) -> dict[str, int]:
        return {}

    def __call__(self, texts: Sequence[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[ord(character) for character in text] for text in texts]}

    def apply_chat_template(
        self, turns: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool, **_: object
    ) -> str:
        text = "".join(f"<{turn['role']}:{turn['content']}>" for turn in turns)
        return text + "<assistant:" if add_generation_prompt else text


def answer_of(sequence: Rendered) -> str:
    """Return the answer's text in a sequence of `CharacterTokenizer`."""
    return "".join(map(chr, sequence.ids[sequence.prompt_tokens :])).removesuffix(">")


def answer_length(sequence: Rendered) -> float:
    return float(len(answer_of(sequence)))


class FakePrompts:
    """Keeps every prompt forever; a token takes a byte."""

    def __init__(self) -> None:
        self.kept: set[Ids] = set()

    def known(self, prompt: Ids) -> int:
        return max((len(ids) for ids in self.kept if prompt[: len(ids)] == ids), default=0)

    def keeps(self, tokens: int) -> bool:
        return True

    def expire(self) -> None:
        pass

    def size(self) -> tuple[int, int]:
        return len(self.kept), sum(map(len, self.kept))


class FakeForward:
    """Rewards from a function; keeps the batches it saw, and can be held.

    While `gate` is cleared a batch waits, up to 30 s. `failures` are raised first, one a call.
    `lost` rewards are left out of every answer. With `shares_prompts` it keeps prefixes, and counts
    tokens like a forward that lays every prompt out once.
    """

    def __init__(
        self,
        reward: Callable[[Rendered], float | Output] = answer_length,
        *,
        shares_prompts: bool = False,
    ) -> None:
        self.prompts = FakePrompts() if shares_prompts else None
        self.batches: list[list[Rendered]] = []
        self.prefixes: list[list[Ids]] = []
        self.budgets: list[int] = []
        self.failures: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.lost = 0
        self.poison: str | None = None
        """A batch that holds this answer fails."""
        self._reward = reward

    def __call__(
        self, batch: Sequence[Rendered], budget: int, prefixes: Sequence[Ids] = ()
    ) -> Work:
        self.batches.append(list(batch))
        self.prefixes.append(list(prefixes))
        self.budgets.append(budget)
        if not self.gate.wait(30):
            raise TimeoutError("the gate was never opened")
        if self.failures:
            raise self.failures.pop(0)
        if self.poison is not None and self.poison in map(answer_of, batch):
            raise ValueError(self.poison)
        tokens = self._tokens(batch, prefixes)
        outputs = [self._output(sequence) for sequence in batch[self.lost :]]
        return Work(outputs, tokens=tokens, positions=tokens, calls=1)

    def _output(self, sequence: Rendered) -> Output:
        found = self._reward(sequence)
        return found if isinstance(found, tuple) else (found,)

    def _tokens(self, batch: Sequence[Rendered], prefixes: Sequence[Ids]) -> int:
        if self.prompts is None:
            return sum(len(sequence.ids) for sequence in batch)
        prompts = {s.ids[: s.prompt_tokens] for s in batch}.union(prefixes)
        tokens = sum(len(prompt) - self.prompts.known(prompt) for prompt in prompts)
        self.prompts.kept |= prompts - {()}
        return tokens + sum(len(s.ids) - s.prompt_tokens for s in batch)


def fake_scorer(
    settings: ModelSettings,
    metrics: ModelMetrics | None = None,
    *,
    forward: FakeForward | None = None,
    labels: Sequence[str] = ("LABEL_0",),
    normalisation: dict[str, Any] | None = None,
    steps: StepReading | None = None,
) -> Scorer:
    """Return a scorer over fakes; `functools.partial` makes a `load` for `create_app` of it."""
    return Scorer(
        Renderer(cast(Any, CharacterTokenizer()), steps=steps),
        forward or FakeForward(),
        info=ModelInfo(
            name=settings.model_name,
            device="cpu",
            dtype="float32",
            pooling="last_token",
            parameters=0,
            labels=tuple(labels),
            weights=tuple(1.0 for _ in labels),
            max_tokens=settings.max_tokens or 512,
            normalisation=normalisation,
            activation="sigmoid" if steps is None else "none",
            steps=steps,
        ),
        settings=settings,
        metrics=metrics,
    )
