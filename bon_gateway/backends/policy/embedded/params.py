"""A client's sampling parameters for the embedded model, checked and named.

Ranges and meanings are vLLM's. What the model cannot do is refused, so that no answer silently
differs from the request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bon_gateway.errors import PolicyRefusedError

UNSUPPORTED = "unsupported_parameter"
CONTEXT_EXCEEDED = "context_length_exceeded"

WITHOUT_EFFECT = frozenset(
    (
        *("metadata", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_retention"),
        *("safety_identifier", "service_tier", "store", "user"),
    )
)
"""OpenAI's book-keeping fields. They change no answer."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "add_special_tokens": (False,),
    "bad_words": ([],),
    "continue_final_message": (False,),
    "echo": (False,),
    "function_call": ("none",),
    "functions": ([],),
    "length_penalty": (1, 1.0),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "spaces_between_special_tokens": (True,),
    "tool_choice": ("none",),
    "tools": ([],),
    "use_beam_search": (False,),
}
"""Parameters that are not implemented, each with the values that have no effect."""

GENERATION_DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
"""Parameters that the settings or a checkpoint's generation_config set if the client does not."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample the candidates of one request: all of them alike, except for the seed."""

    temperature: float = 1.0
    """0 is greedy. ``parse`` sets everything below vLLM's threshold to 0."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps the whole vocabulary."""
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] | None = None
    max_tokens: int | None = None
    """None until ``fit_to_context`` has seen the prompt."""
    max_tokens_param: str = "max_tokens"
    """The client's name for ``max_tokens``: this or ``max_completion_tokens``."""
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    return_token_ids: bool = False
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)


def refusal(message: str, param: str | None, code: str = "invalid_value") -> PolicyRefusedError:
    """The 400 for a request that this model cannot answer as it stands."""
    return PolicyRefusedError(message, param=param, code=code)


def parse(
    sampling: Mapping[str, Any], defaults: Mapping[str, Any], vocabulary: int
) -> SamplingParams:
    """Check ``sampling`` and name its values. Null counts as absent.

    ``defaults`` are the checkpoint's own (``GENERATION_DEFAULTS``), ``vocabulary`` is the number of
    token ids. Raises PolicyRefusedError with the parameter's name.
    """
    given = {name: value for name, value in sampling.items() if value is not None}
    _refuse_unsupported(given)
    read = _SamplingReader({**defaults, **given}, vocabulary)
    temperature = read.number("temperature", 1.0, 0.0, 2.0)
    read.optional_integer("max_tokens", 1)  # checked even where the newer name takes precedence
    max_name = "max_completion_tokens" if "max_completion_tokens" in given else "max_tokens"
    params = SamplingParams(
        temperature=temperature if temperature >= 1e-5 else 0.0,
        top_p=read.number("top_p", 1.0, 0.0, 1.0, low_open=True),
        top_k=max(read.integer("top_k", 0, -1), 0),
        min_p=read.number("min_p", 0.0, 0.0, 1.0),
        presence_penalty=read.number("presence_penalty", 0.0, -2.0, 2.0),
        frequency_penalty=read.number("frequency_penalty", 0.0, -2.0, 2.0),
        repetition_penalty=read.number("repetition_penalty", 1.0, 0.0, math.inf, low_open=True),
        logit_bias=read.logit_bias(),
        max_tokens=read.optional_integer(max_name, 1),
        max_tokens_param=max_name,
        min_tokens=read.integer("min_tokens", 0, 0),
        stop=read.stop(),
        stop_token_ids=read.token_ids("stop_token_ids"),
        include_stop_str_in_output=read.boolean("include_stop_str_in_output", False),
        ignore_eos=read.boolean("ignore_eos", False),
        skip_special_tokens=read.boolean("skip_special_tokens", True),
        logprobs=read.boolean("logprobs", False),
        top_logprobs=read.integer("top_logprobs", 0, 0, vocabulary),
        return_token_ids=read.boolean("return_token_ids", False),
        chat_template_kwargs=read.mapping("chat_template_kwargs"),
    )
    if params.top_logprobs and not params.logprobs:
        raise refusal("top_logprobs needs logprobs to be true", "top_logprobs")
    return params


def fit_to_context(
    params: SamplingParams, prompt_tokens: int, context: int | None, default: int
) -> int:
    """Number of tokens that may be generated after ``prompt_tokens``.

    ``context`` is the most that prompt and answer may have together; None is no limit. ``default``
    applies if the client set no ``max_tokens``. Raises PolicyRefusedError.
    """
    left = math.inf if context is None else context - prompt_tokens
    if left < 1:
        raise refusal(
            f"the messages are {prompt_tokens} tokens long; the model's context is {context}"
            " tokens, the answer included",
            "messages",
            CONTEXT_EXCEEDED,
        )
    if params.max_tokens is not None and params.max_tokens > left:
        raise refusal(
            f"{params.max_tokens_param} is {params.max_tokens} and the messages are"
            f" {prompt_tokens} tokens long; the model's context is {context} tokens",
            params.max_tokens_param,
            CONTEXT_EXCEEDED,
        )
    most = params.max_tokens or int(min(default, left))
    if params.min_tokens > most:
        raise refusal(
            f"min_tokens is {params.min_tokens}; at most {most} tokens can be generated",
            "min_tokens",
        )
    return most


def _refuse_unsupported(given: Mapping[str, Any]) -> None:
    supported = set(SamplingParams.__dataclass_fields__) - {"max_tokens_param"}
    for name, value in given.items():
        if name in supported or name in WITHOUT_EFFECT or name == "max_completion_tokens":
            continue
        if not any(value == neutral for neutral in NEUTRAL.get(name, ())):
            raise refusal(f"the embedded model does not support {name}", name, UNSUPPORTED)


class _SamplingReader:
    """Reads and checks the values of a request one by one."""

    def __init__(self, given: Mapping[str, Any], vocabulary: int) -> None:
        self._given = given
        self._vocabulary = vocabulary

    def number(
        self, name: str, default: float, low: float, high: float, *, low_open: bool = False
    ) -> float:
        value = self._of_type(name, default, int | float, "a number")
        # A comparison with NaN is false, and an int may be too large for a float.
        inside = low < value <= high if low_open else low <= value <= high
        if not inside or value == math.inf:
            bounds = f"{'above' if low_open else 'at least'} {low:g}"
            bounds += "" if high == math.inf else f" and at most {high:g}"
            raise refusal(f"{name} must be {bounds}", name)
        return float(value)

    def integer(self, name: str, default: int, low: int, high: float = math.inf) -> int:
        value: int = self._of_type(name, default, int, "an integer")
        if not low <= value <= high:
            bounds = f"at least {low}" + ("" if high == math.inf else f" and at most {high}")
            raise refusal(f"{name} must be {bounds}", name)
        return value

    def optional_integer(self, name: str, low: int) -> int | None:
        return self.integer(name, low, low) if name in self._given else None

    def boolean(self, name: str, default: bool) -> bool:
        return bool(self._of_type(name, default, bool, "true or false"))

    def mapping(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._of_type(name, {}, Mapping, "an object")
        return found

    def _of_type(self, name: str, default: Any, kind: Any, words: str) -> Any:
        value = self._given.get(name, default)
        # To Python true and false are integers.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise refusal(f"{name} must be {words}", name)
        return value

    def stop(self) -> tuple[str, ...]:
        value = self._given.get("stop", ())
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
            raise refusal("stop must be a string or a list of strings", "stop")
        if "" in texts:
            raise refusal("stop must not hold an empty string", "stop")
        return tuple(texts)

    def token_ids(self, name: str) -> frozenset[int]:
        value = self._given.get(name, ())
        if not isinstance(value, list | tuple):
            raise refusal(f"{name} must be a list of token ids", name)
        for token in value:
            if isinstance(token, bool) or not isinstance(token, int):
                raise refusal(f"{name} must be a list of token ids", name)
            self._known(token, name)
        return frozenset(value)

    def logit_bias(self) -> Mapping[int, float] | None:
        name = "logit_bias"
        biases: dict[int, float] = {}
        for key, bias in self.mapping(name).items():
            try:
                token = int(key)
            except ValueError:
                raise refusal(f"{name} has a key that is not a token id: {key!r}", name) from None
            if isinstance(bias, bool) or not isinstance(bias, int | float):
                raise refusal(f"{name} must hold numbers", name)
            if not -100 <= bias <= 100:
                raise refusal(f"{name} must hold numbers from -100 to 100", name)
            self._known(token, name)
            biases[token] = float(bias)
        return biases or None

    def _known(self, token: int, name: str) -> None:
        if not 0 <= token < self._vocabulary:
            raise refusal(
                f"{name} has token id {token}; the vocabulary has {self._vocabulary}", name
            )
