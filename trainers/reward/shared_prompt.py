"""All answers of a record in one row behind their prompt, which is computed once.

The prompt's tokens see each other, those of an answer see the prompt and their own answer, and
each answer's positions go on where the prompt ends. So every token gives what it gives in a
conversation of its own, and losses and gradients are those of whole conversations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from reward_server.network.final_layer import FinalLayer, find_final_layer
from reward_server.network.model import has_score_head
from reward_server.network.sequence import shared_tokens
from reward_server.network.sharing import attention_window, random_conversations

PROMPT, PADDING = 0, -1
"""Segments; an answer's is its number, from 1."""
MASKABLE = ("eager", "sdpa")
"""Attention implementations that take a mask for each pair of tokens."""
WHOLE = {"full_attention", "sliding_attention"}
"""Kinds of layers that see a whole conversation, if it is no longer than the window."""
PROBE = ((9, (1, 5, 2)), (2, (2, 3)))
"""Lengths of prompts and of their answers, with which every network is tried."""
SHORT_ROW = 512
"""Tokens. In a row that is no longer, attention costs little beside the products with weights."""
MOST_SQUARES = 2.0
"""Attention grows with the square of a row. Longer rows that would cost it more than this, against
whole conversations, are not shared."""


@dataclass(frozen=True)
class SharedRows:
    """A batch, one record a row of at most L tokens."""

    ids: Tensor
    """(records, L)"""
    positions: Tensor
    """(records, L) each token's place in its own conversation."""
    segments: Tensor
    """(records, L) `PROMPT`, an answer's number, or `PADDING`."""
    places: Tensor
    """(records, most answers) where each reward is read, in the tokens of the whole batch one after
    another; -1 where a record has fewer answers."""


def row_length(answers: Sequence[list[int]]) -> int:
    """Tokens of a record's row: what its answers begin with once, and the rest of each."""
    prompt = _common(answers)
    return prompt + sum(len(ids) - prompt for ids in answers)


def shared_rows(records: Sequence[Sequence[list[int]]], pad: int) -> SharedRows | None:
    """The rows of a batch; None where whole conversations would cost less."""
    prompts = [_common(answers) for answers in records]
    longest = max(map(row_length, records))
    whole = max(len(ids) for answers in records for ids in answers)
    sequences = sum(map(len, records))
    squares = len(records) * longest**2
    if len(records) * longest >= sequences * whole:
        return None
    if longest > SHORT_ROW and squares > MOST_SQUARES * sequences * whole**2:
        return None
    ids, positions, segments, places = [], [], [], []
    for number, (prompt, answers) in enumerate(zip(prompts, records, strict=True)):
        row = [*answers[0][:prompt]]
        steps, parts, reads = [*range(prompt)], [PROMPT] * prompt, []
        for part, answer in enumerate(answers, start=1):
            row += answer[prompt:]
            steps += range(prompt, len(answer))
            parts += [part] * (len(answer) - prompt)
            reads.append(number * longest + len(row) - 1)
        ids.append(torch.tensor(row))
        positions.append(torch.tensor(steps))
        segments.append(torch.tensor(parts))
        places.append(torch.tensor(reads))
    return SharedRows(
        pad_sequence(ids, batch_first=True, padding_value=pad),
        pad_sequence(positions, batch_first=True),
        pad_sequence(segments, batch_first=True, padding_value=PADDING),
        pad_sequence(places, batch_first=True, padding_value=-1),
    )


def _common(answers: Sequence[list[int]]) -> int:
    """Tokens that all conversations begin with; at least one of each is its own, which is read."""
    first, *others = map(tuple, answers)
    # Several answers that begin alike share that too: a token's value depends on none behind it.
    return min(
        reduce(min, (shared_tokens(first, other) for other in others), len(first)),
        min(map(len, answers)) - 1,
    )


def visible(segments: Tensor, dtype: torch.dtype) -> Tensor:
    """What the scores of (records, L) tokens get added: (records, 1, L, L), 0 or very small."""
    own = segments[:, :, None] == segments[:, None, :]
    # Padding sees itself: a row without anything to see would give numbers that are none.
    seen = (own | (segments == PROMPT)[:, None, :]).tril()
    mask = torch.zeros(seen.shape, dtype=dtype, device=segments.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


@contextmanager
def kept_outputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """What a module gives while the block runs, call by call.

    The network is called as a whole, so that adapters and data parallelism take part; its own
    pooling reads one token a row, and the head's output has them all.
    """
    found: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    try:
        yield found
    finally:
        handle.remove()


def obstacle(net: Any) -> str | None:
    """Why `net` has to compute a prompt anew for each answer; None if it need not.

    The reward server's rule: the network reads the last token, and shared and whole
    conversations give it the same rewards. Dropout would fall on a shared prompt once for all.
    """
    config = net.config.get_text_config()
    if not has_score_head(net):
        return "the network pools by itself"
    if net.config._attn_implementation not in MASKABLE:  # noqa: SLF001 - the library has no getter
        return f"attention {net.config._attn_implementation} takes no mask of pairs"  # noqa: SLF001
    other = set(getattr(config, "layer_types", None) or ()) - WHOLE
    if other:
        return f"it has layers of {', '.join(sorted(other))}"
    if any(_drops(module) for module in net.modules()):
        return "its configuration asks for dropout"
    return _difference(net, None)


def final_layer(net: Any) -> FinalLayer | None:
    """The last layer, if it may compute only the tokens that are read; for a network without an
    `obstacle`. The other tokens' outputs reach no loss, so their gradients are 0."""
    final = find_final_layer(getattr(net, net.base_model_prefix))
    return None if final is None or _difference(net, final) else final


def _drops(module: nn.Module) -> bool:
    """Whether a module drops by itself; TRL's trainer turns off those that are modules."""
    return any(
        "dropout" in name and isinstance(value, float) and value > 0
        for name, value in vars(module).items()
    )


@torch.no_grad()
def _difference(net: Any, final: FinalLayer | None) -> str | None:
    conversations = random_conversations(net, PROBE)
    if max(len(one.ids) for one in conversations) > attention_window(net):
        return "its window is too short"
    was_training = net.training
    net.eval()
    try:
        alone = torch.cat([_outputs(net, torch.tensor([one.ids]))[:, -1] for one in conversations])
        left = iter(conversations)
        records = [[list(next(left).ids) for _ in answers] for _, answers in PROBE]
        rows = shared_rows(records, pad=0)
        assert rows is not None, "prompts of the probe are long enough"
        read = rows.places[rows.places >= 0]
        with final.only(read, rows.ids.shape) if final else nullcontext():
            outputs = _outputs(
                net,
                rows.ids,
                attention_mask=visible(rows.segments, net.dtype),
                position_ids=rows.positions,
            )
        shared = outputs.flatten(0, 1)[read]
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        # Networks that do not take these arguments fail in all these ways.
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    finally:
        net.train(was_training)
    # A new head's outputs are small, so the difference is measured in them.
    share = float((alone - shared).abs().max() / alone.abs().max())
    if share > (1e-4 if net.dtype == torch.float32 else 5e-2):
        return f"{type(net).__name__} differs by {share:.1e} where it is shared"
    return None


def _outputs(net: Any, ids: Tensor, **options: Tensor) -> Tensor:
    """(rows, L, labels): the head's output for every token."""
    base = getattr(net, net.base_model_prefix)
    hidden = base(
        input_ids=ids.to(net.device),
        use_cache=False,
        **{name: value.to(net.device) for name, value in options.items()},
    ).last_hidden_state
    outputs: Tensor = net.score(hidden)
    return outputs
