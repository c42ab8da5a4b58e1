"""What must be true of a model before it is served, and of its written copy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor

from reward_server.scoring.render import Renderer
from trainers.base.data import Conversation, Message
from trainers.base.errors import ModelError
from trainers.base.fit import require_fit
from trainers.rewards.one import render, require_own_pad
from trainers.runtime.trained import NAME, answers, read_record

TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""Largest difference between an output before and after, as a share of the largest output or 1.

Merging an adapter adds in another order, which float32 shows in the sixth digit; bfloat16 keeps
8 bits of each weight, and its errors add up over the layers.
"""

PROBES: tuple[list[Message], ...] = tuple(
    [Message(role="user", content=question), Message(role="assistant", content=answer)]
    for question, answer in (
        ("name three toys for a bear", "a kite , a drum and a ball ."),
        ("What is the capital of France?", "Paris."),
        ("Write a haiku about rain.", "Soft rain on the roof\nthe gutter hums to itself\nI sleep."),
    )
)


def check_template(tokenizer: Any, name: str) -> None:
    """Raise ModelError unless a prompt as it is served begins the conversation as it was learnt.

    vLLM renders the prompt with the generation prompt at its end; a template that writes an
    answered turn differently makes the model answer after text that it has never seen.
    """
    if tokenizer.chat_template is None:
        raise ModelError(f"{name}: the tokenizer has no chat template")
    for turns in PROBES:
        try:
            prompt = tokenizer.apply_chat_template(
                turns[:-1], tokenize=False, add_generation_prompt=True
            )
            whole = tokenizer.apply_chat_template(turns, tokenize=False)
        except TemplateError as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"{name}: the chat template refuses a plain chat: {reason}") from error
        if not whole.startswith(prompt):
            raise ModelError(
                f"{name}: the chat template's generation prompt is not how it writes an answer: "
                f"{prompt[-40:]!r} does not begin {whole[-80:]!r}"
            )
        if turns[-1]["content"].split()[0] not in whole[len(prompt) :]:
            raise ModelError(f"{name}: the chat template leaves out the answer")


def check_ends(model: Any, tokenizer: Any, name: str, *, needs_end: bool) -> None:
    """Raise ModelError where an answer could not end or the ids are not the model's.

    An encoder needs no end of turn: it reads prompt and answer as a pair of texts.
    """
    require_fit(model, tokenizer, name)
    if needs_end and tokenizer.eos_token_id is None:
        raise ModelError(f"{name}: the tokenizer has no end-of-turn token (eos_token)")


def check_padding(model: Any, tokenizer: Any, name: str) -> None:
    """Raise ModelError unless vLLM and transformers read a reward at the same token."""
    require_own_pad(tokenizer, name)
    pad = model.config.get_text_config().pad_token_id
    if pad != tokenizer.pad_token_id:
        raise ModelError(
            f"{name}: the model pads with token {pad}, its tokenizer with {tokenizer.pad_token_id}"
        )


def probe_ids(tokenizer: Any) -> list[list[int]]:
    """The probes as token ids, as the reward server renders them."""
    renderer, name = Renderer(tokenizer), tokenizer.name_or_path
    return [list(render(renderer, Conversation(turns), f"{name}: a probe").ids) for turns in PROBES]


def outputs(model: Any, sequences: Sequence[Sequence[int]]) -> list[Tensor]:
    """What a model gives for each sequence alone, float32: (length, vocabulary) or (1, labels)."""
    with torch.inference_mode():
        return [model(torch.tensor([list(ids)])).logits[0].float() for ids in sequences]


def require_trained(model: Any, folder: str) -> float:
    """The largest difference of an output to what was recorded when training ended, as
    `require_parity`; 0 where nothing was recorded. ModelError for another model."""
    found = read_record(Path(folder))
    if found is None:
        return 0.0
    before = [torch.tensor(values) for values in found["answers"]]
    after = answers(model, found["sequences"])
    if [one.shape for one in before] != [one.shape for one in after]:
        raise ModelError(f"{folder}: it has other outputs than what was trained ({NAME})")
    dtype = found["dtype"] if found["dtype"] in TOLERANCE else "bfloat16"
    what = f"what was loaded differs by {{:.2g}} from what was trained ({NAME})"
    return require_parity(before, after, dtype, folder, what)


def relative_difference(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """The largest difference of an output, relative to the largest output or 1."""
    largest = max(1.0, *(float(one.abs().max()) for one in before))
    gaps = [float((a - b).abs().max()) for a, b in zip(before, after, strict=True)]
    return max(gaps) / largest


def require_parity(
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    dtype: str,
    name: str,
    what: str = "what was written differs by {:.2g} from what was trained",
) -> float:
    """`relative_difference`.

    Raises ModelError, saying `what`, if it is beyond the tolerance or not a number.
    """
    difference = relative_difference(before, after)
    if not difference <= TOLERANCE[dtype]:  # so that nan fails too
        raise ModelError(
            f"{name}: {what.format(difference)} (tolerance {TOLERANCE[dtype]:g} in {dtype})"
        )
    return difference
