"""What happens to a conversation that is longer than the model can read.

A text that is too long whatever its tokens are is refused before it is tokenised, or loses at the
left what would be cut anyway. `Room.fit` then goes by the exact number of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from reward_server.errors import ContextLengthError
from reward_server.network.sequence import Rendered
from reward_server.schema import OnOverflow
from reward_server.scoring.text_bound import TextBound, tail_of

TOKENS_PER_CHARACTER = 64
"""An upper bound: normalisation makes most of U+FDFA, which becomes 33 bytes."""


@dataclass(frozen=True)
class Room:
    """The tokens that each conversation of one item of a request may have."""

    item: int
    """Place of the item in its request."""
    limit: int
    """Tokens that the model reads."""
    on_overflow: OnOverflow
    bound: TextBound

    def fit(self, rendered: Rendered, completion: int) -> Rendered:
        """The sequence within `limit` tokens; cuts the prompt's left side if that is allowed.

        Raises ContextLengthError when cutting is refused, or when the answer alone is too long; it
        names the prompt where that alone fills the limit.
        """
        length = len(rendered.ids)
        if self.on_overflow == "refuse" and length > self.limit:
            if rendered.prompt_tokens >= self.limit:
                raise self._too_long(None, "the prompt", f"{rendered.prompt_tokens}")
            raise self._too_long(completion, "the conversation", f"{length}")
        cut = rendered.within(self.limit)
        if cut is None:
            answer = length - max(rendered.prompt_tokens - rendered.fixed_tokens, 0)
            raise self._too_long(completion, "the answer alone", f"{answer}")
        return cut

    def start_of(self, prompt: str) -> int:
        """Number of characters at a prompt's left that are cut whatever the answer is."""
        if self.on_overflow == "refuse":
            return 0
        return tail_of(prompt, self.bound, self.limit + 1)

    def check(self, text: str, *, completion: int, prompt: str, mark: int) -> None:
        """Raises ContextLengthError for a rendered conversation that cannot fit.

        `mark` is a place in the prompt. The text may differ from the prompt behind it.
        """
        if self.on_overflow == "refuse":
            if self.bound.least(text) > self.limit:
                self._refuse(self.bound.least(prompt), None, "the prompt")
            self._refuse(self.bound.least(text), completion, "the conversation")
            return
        shared = len(prompt) if text.startswith(prompt) else mark
        if not text.startswith(prompt[:shared]):
            shared = 0
        # The rest of the prompt may stand in the text too, and what is of the prompt can be cut.
        in_prompt = TOKENS_PER_CHARACTER * (len(prompt) - shared)
        self._refuse(self.bound.least(text[shared:]) - in_prompt, completion, "the answer alone")

    def check_pair(self, prompt: str, answer: str, *, completion: int) -> None:
        """The same for an encoder, which reads prompt and answer apart."""
        least = self.bound.least(answer)
        if self.on_overflow == "refuse":
            of_prompt = self.bound.least(prompt)
            self._refuse(of_prompt, None, "the prompt")
            self._refuse(of_prompt + least, completion, "the conversation")
        self._refuse(least, completion, "the answer alone")

    def _refuse(self, least: int, completion: int | None, what: str) -> None:
        if least > self.limit:
            raise self._too_long(completion, what, f"at least {least}")

    def _too_long(self, completion: int | None, what: str, tokens: str) -> ContextLengthError:
        """Without a `completion` the prompt is at fault: it leaves no answer any room."""
        place = "messages" if completion is None else f"completions[{completion}]"
        param = f"items[{self.item}].{place}"
        reason = f"{param}: {what} is {tokens} tokens long; the limit is {self.limit}"
        return ContextLengthError(reason, param=param)
