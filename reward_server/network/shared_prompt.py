"""Scores packed conversations: a prompt is computed once for all of its candidates.

A prompt's keys and values are kept for a while, so that candidates that come later, or one by one,
cost only their own tokens.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch

from reward_server.errors import BatchMemoryError
from reward_server.network import attention
from reward_server.network.attention import UnsupportedAttentionError
from reward_server.network.final_layer import FinalLayer, find_final_layer
from reward_server.network.forward import Forward, PaddedForward, Work
from reward_server.network.model import RewardModel
from reward_server.network.packing import Layout, PromptGroup, grouped, lay_out, packs
from reward_server.network.prefix_cache import BLOCK, Prefix, PrefixCache
from reward_server.network.sequence import Ids, Rendered, shared_tokens
from reward_server.network.sharing import attention_window, random_conversations

logger = logging.getLogger("reward_server.shared_prompt")

PROBE = ((BLOCK + 1, (1, 3, 2)), (2, (2, 2)), (0, (5,)))
"""Lengths of prompts and of their answers, with which every model is tried."""


@dataclass(frozen=True)
class SharedPromptForward:
    """A Forward without padding."""

    model: RewardModel
    otherwise: Forward
    """For conversations over `window` tokens, which the network would not see whole."""
    prompts: PrefixCache
    window: float = math.inf
    flex: bool = False
    """Whether the attention is FlexAttention."""
    final: FinalLayer | None = None
    """The last layer, if it computes only the tokens that are read."""

    def __call__(
        self, batch: Sequence[Rendered], budget: int, prefixes: Sequence[Ids] = ()
    ) -> Work:
        try:
            return self._score(batch, budget, prefixes)
        except BatchMemoryError:
            self.prompts.clear()  # the memory that they hold is what is missing
            raise

    def _score(self, batch: Sequence[Rendered], budget: int, prefixes: Sequence[Ids]) -> Work:
        work = Work([()] * len(batch))
        fitting = [i for i, sequence in enumerate(batch) if len(sequence.ids) <= self.window]
        self._add_packed(work, batch, fitting, budget, prefixes)
        others = [i for i, sequence in enumerate(batch) if len(sequence.ids) > self.window]
        if others:
            padded = self.otherwise([batch[i] for i in others], budget)
            for place, output in zip(others, padded.outputs, strict=True):
                work.outputs[place] = output
            work.tokens += padded.tokens
            work.positions += padded.positions
            work.calls += padded.calls
        return work

    def _add_packed(
        self,
        work: Work,
        batch: Sequence[Rendered],
        fitting: Sequence[int],
        budget: int,
        prefixes: Sequence[Ids],
    ) -> None:
        """Score those of the batch at the places `fitting`, and add the outcome to `work`."""
        find = self.prompts.find
        groups = grouped([batch[i] for i in fitting], self.prompts.keeps)
        groups += [PromptGroup(ids, keep=True) for ids in prefixes if not _covered(ids, groups)]
        for planned in packs([group.found(find) for group in groups], budget):
            # Another look: the pack before may have computed what this one begins with.
            pack = [group for group in (one.found(find) for one in planned) if group.tokens]
            if not pack:
                continue
            layout = lay_out(pack, self.model.device, flex=self.flex, final=self.final)
            for place, output in zip(layout.places, self.model.outputs_of(layout), strict=True):
                work.outputs[fitting[place]] = output
            self._keep(pack, layout)
            work.tokens += layout.tokens
            work.positions += layout.ids.shape[1]
            work.calls += 1
            work.reused += sum(group.known for group in pack)
            work.lookups += sum(1 for group in pack if group.keep and group.answers)
            work.hits += sum(1 for group in pack if group.known and group.answers)

    def _keep(self, pack: Sequence[PromptGroup], layout: Layout) -> None:
        # A group of a lone conversation has no span, so groups and spans are matched by place.
        spans = {span.start: span for span in layout.spans}
        start = 0
        for group in pack:
            span = spans.get(start)
            if span is not None and span.kept:
                self.prompts.add(_extended(group, span.kept))
            start += group.tokens


def _covered(prefix: Ids, groups: Sequence[PromptGroup]) -> bool:
    """Whether one of the groups begins with a prefix, or with all but its last few tokens: a chat
    template may write the end of a prompt in another way once an answer follows."""
    return any(shared_tokens(prefix, group.prompt) > len(prefix) - BLOCK for group in groups)


def _extended(group: PromptGroup, own: list[tuple[torch.Tensor, torch.Tensor]]) -> Prefix:
    """Join the cached keys and values with those that this call computed."""
    if group.past is None:
        return Prefix(group.prompt, tuple(own))
    known = slice(0, group.known)
    layers = tuple(
        (torch.cat((before[0][:, :, known], key), 2), torch.cat((before[1][:, :, known], value), 2))
        for before, (key, value) in zip(group.past.layers, own, strict=True)
    )
    return Prefix(group.prompt, layers)


def choose_forward(
    model: RewardModel,
    *,
    share_prompt: bool | None = None,
    keep_bytes: int = 0,
    keep_s: float = 60.0,
    flex: bool | None = None,
    every_token: bool = False,
) -> Forward:
    """The fastest Forward that gives this model's own rewards; it is tried before it is chosen.

    Prompts are shared on the CPU, and elsewhere only if `share_prompt` is True: nothing is measured
    there yet. Keys and values of prompts take at most `keep_bytes`, and are kept for `keep_s`
    seconds after their last use. `flex` takes FlexAttention, by default everywhere except on the
    CPU. `every_token` makes the last layer compute every token: a network that will be compiled
    needs that.
    """
    padded = PaddedForward(model)
    if flex is None:
        flex = model.device.type != "cpu"
    reason = _obstacle(model, share_prompt)
    if reason is None:
        # A network with code of its own may ignore the request without a word.
        attention.register()
        before, model.attention = model.attention, attention.NAME
        if model.attention != attention.NAME:
            reason = "another attention"
    if reason is None:
        # Names alone do not tell what a layer computes, so the shortcut is tried first, then none.
        # Several tokens of an answer are read where steps are scored; the shortcut reads one.
        whole = every_token or model.steps is not None
        found = None if whole else find_final_layer(model.base)
        window = attention_window(model.net)
        prompts = PrefixCache(keep_bytes, keep_s, longest=window)
        for final in (found, None) if found else (None,):
            forward = SharedPromptForward(model, padded, prompts, window, flex, final)
            reason = _difference(model, forward)
            prompts.clear()
            if reason is None:
                return forward
            if final is not None:
                logger.info("the last layer works on every token: %s", reason)
        model.attention = before
    logger.info("prompts are computed again for each candidate: %s", reason)
    return padded


def _obstacle(model: RewardModel, share_prompt: bool | None) -> str | None:
    if share_prompt is False:
        return "share_prompt is off"
    if not model.reads_tokens:
        return "the model pools by itself"
    if model.caps_scores:
        return "softcap: attention scores are capped"
    if share_prompt is None and model.device.type != "cpu":
        return f"on {model.device.type} share_prompt has to be true"
    return None


def _difference(model: RewardModel, forward: SharedPromptForward) -> str | None:
    """Why packed rewards of a few random conversations differ from the model's own; None if they
    do not.

    The second batch finds the prompts of the first, one of them only in its beginning.
    """
    first = random_conversations(model.net, PROBE)
    shorter = [replace(s, ids=s.ids[:BLOCK] + s.ids[BLOCK + 1 :], prompt_tokens=BLOCK)
               for s in first if s.prompt_tokens > BLOCK]  # fmt: skip
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
    for sequences in (first, [*first, *shorter]):
        batch = sequences if model.steps is None else [_read_everywhere(one) for one in sequences]
        alone = [model.outputs([one.ids], reads=[one.read_at])[0] for one in batch]
        try:
            outputs = forward(batch, budget=1 << 20).outputs
        except (
            UnsupportedAttentionError,
            BatchMemoryError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            # Networks that do not take the library's arguments fail in all these ways.
            return f"{type(error).__name__}: {error}"
        for own, packed in zip(chain(*alone), chain(*outputs), strict=True):
            if not math.isclose(own, packed, rel_tol=tolerance, abs_tol=tolerance):
                return f"{type(model.net).__name__} scores {own:.4f} alone and {packed:.4f} packed"
    return None


def _read_everywhere(sequence: Rendered) -> Rendered:
    return replace(sequence, reads=tuple(range(sequence.prompt_tokens, len(sequence.ids))))
