"""What must be true of a model before it is served, and of its written copy."""

from collections.abc import Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor

from reward_server.scoring.render import Renderer
from trainers.base.data import Conversation, Message
from trainers.base.errors import ModelError
from trainers.rewards.one import render, require_own_pad

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


def check_ends(model: Any, tokenizer: Any, name: str) -> None:
    """Raise ModelError where a policy could not end an answer or the ids are not the model's."""
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ModelError(f"{name}: the tokenizer has {len(tokenizer)} tokens, the model {rows}")
    if tokenizer.eos_token_id is None:
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


def require_parity(
    before: Sequence[Tensor], after: Sequence[Tensor], dtype: str, name: str
) -> float:
    """The largest difference of an output, relative to the largest output or 1.

    Raises ModelError if it is beyond the tolerance or not a number.
    """
    largest = max(1.0, *(float(one.abs().max()) for one in before))
    gaps = [float((a - b).abs().max()) for a, b in zip(before, after, strict=True)]
    difference = max(gaps) / largest
    if not difference <= TOLERANCE[dtype]:  # so that nan fails too
        raise ModelError(
            f"{name}: what was written differs by {difference:.2g} from what was trained "
            f"(tolerance {TOLERANCE[dtype]:g} in {dtype})"
        )
    return difference
