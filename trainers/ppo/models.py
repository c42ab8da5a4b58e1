"""Builds the parts of a run from its settings: the only place that knows all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from bon_common.loaded_model import position_limit
from trainers.base.bad_lines import BadLines
from trainers.base.fit import require_answers, require_fit
from trainers.base.loading import find_device
from trainers.base.tokenizer import training_tokenizer
from trainers.policy.ends import end_tokens, pad_token
from trainers.policy.generation import Generator
from trainers.policy.in_process import InProcessGenerator
from trainers.ppo.policy import Reference, load_policy
from trainers.ppo.prompts import PromptSet, read_prompt_set
from trainers.ppo.rollout import Collector
from trainers.ppo.settings import InProcessDrawSettings, PpoSettings
from trainers.ppo.stopping import StopSign
from trainers.ppo.update import Updater
from trainers.ppo.value import ValueModel, value_from_policy, value_from_reward
from trainers.rewards.gold import load_gold
from trainers.rewards.opening import open_scorer


@dataclass(frozen=True)
class PpoParts:
    """Everything that the loop of `train` works with."""

    tokenizer: PreTrainedTokenizerBase
    prompts: PromptSet
    eval_prompts: PromptSet | None
    bad: BadLines
    policy: Any
    value: ValueModel
    collector: Collector
    updater: Updater
    sign: StopSign


def build(settings: PpoSettings) -> PpoParts:
    """Read the prompts and load every model. Raises DataError, ModelError."""
    device = find_device(settings.device)
    tokenizer = training_tokenizer(settings.model, settings.revision, settings)
    bad, longest = BadLines(skip=settings.skip_bad), settings.max_prompt_tokens
    prompts = read_prompt_set(settings.prompts, tokenizer, longest, bad)
    eval_prompts = None
    if settings.eval_prompts is not None:
        eval_prompts = read_prompt_set(settings.eval_prompts, tokenizer, longest, bad)
    policy = load_policy(settings, device)
    require_fit(policy, tokenizer, settings.model)
    asked = [*prompts.prompts, *([] if eval_prompts is None else eval_prompts.prompts)]
    require_answers(
        position_limit(policy),
        [prompt.ids for prompt in asked],
        "sampling.max_new_tokens",
        settings.sampling.max_new_tokens,
    )
    dtype = getattr(torch, settings.dtype)
    scorer = open_scorer(
        settings.reward,
        batch_size=settings.update.micro_batch_size,
        device=str(device),
        dtype=dtype,
    )
    if settings.value.start == "reward" and isinstance(settings.reward, Path):
        value = value_from_reward(settings.reward, device, tokenizer, settings.shape)
    else:
        value = value_from_policy(settings.model, settings.revision, device)
    ends = end_tokens(policy, tokenizer)
    pad = pad_token(tokenizer, ends)
    sign = StopSign()
    collector = Collector(
        settings=settings,
        tokenizer=tokenizer,
        policy=policy,
        reference=Reference(policy),
        value=value,
        scorer=scorer,
        generator=_generator(settings, policy, pad, ends, sign),
        ends=ends,
        pad=pad,
        gold=None if settings.gold is None else load_gold(settings.gold),
        sign=sign,
    )
    updater = Updater(settings, policy, value, sign)
    return PpoParts(tokenizer, prompts, eval_prompts, bad, policy, value, collector, updater, sign)


def _generator(
    settings: PpoSettings, policy: Any, pad: int, ends: frozenset[int], sign: StopSign
) -> Generator:
    if isinstance(settings.generation, InProcessDrawSettings):
        return InProcessGenerator(
            policy,
            pad=pad,
            ends=ends,
            temperature=settings.sampling.temperature,
            max_new_tokens=settings.sampling.max_new_tokens,
            batch_size=settings.generation.batch_size,
            check=sign.check,
        )
    from trainers.ppo.vllm import VllmGenerator

    weights = settings.generation.weights or settings.output / "engine-weights"
    return VllmGenerator(settings.generation, settings.sampling, policy, weights)
