"""Turns settings into a loaded model; the only module that brings torch into the process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from bon_common.loaded_model import UnfitModelError, require_room
from bon_common.process_reward import StepReading, read_step_notes
from reward_server.errors import StartupError, StepTokenError
from reward_server.info import ModelInfo
from reward_server.model_settings import ModelSettings
from reward_server.network.forward import Forward
from reward_server.network.heap import keep_freed_memory
from reward_server.network.model import RewardModel
from reward_server.network.packed_linear import pack_weights
from reward_server.network.shared_prompt import choose_forward
from reward_server.scoring.activation import activation_of
from reward_server.scoring.ensemble_folder import members_of
from reward_server.scoring.render import Renderer

UNSET_LENGTH = 10**9
"""Tokenizers without a length limit carry a number beyond this."""


@dataclass(frozen=True)
class ScorerParts:
    renderer: Renderer
    forward: Forward
    info: ModelInfo


def load_parts(settings: ModelSettings) -> ScorerParts:
    """Load tokenizer and model and check that they fit each other and the settings.

    Raises StartupError.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    if (found := members_of(settings)) is not None:
        name = Path(settings.model) / found[1].members[0]
        raise StartupError("model", f"an ensemble, where one model is needed; name one: {name}")
    meta = _trainers_notes(settings)
    steps = _steps(settings, meta)
    model = RewardModel.load(
        settings.model,
        device=settings.device,
        dtype=settings.dtype,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
        device_map=settings.device_map,
        label_weights=settings.label_weights or (None if steps else _trained_weights(meta)),
        allow_pad_eos=settings.allow_pad_eos,
        steps=steps,
    )
    if model.device.type == "cpu":
        keep_freed_memory()
    if settings.pack_weights and not settings.compile:
        pack_weights(model.base)
    model.check_padding()
    tokenizer = _load_tokenizer(settings)
    try:
        require_room(model.net, tokenizer)
    except UnfitModelError as error:
        raise StartupError("model", str(error)) from error
    try:
        renderer = Renderer(
            tokenizer,
            chat_template=_read_template(settings),
            system_prompt=settings.system_prompt,
            steps=steps,
        )
    except StepTokenError as error:
        raise StartupError("steps.token", str(error)) from error
    if renderer.is_pair and model.pooling != "model":
        raise StartupError("chat_template", "the tokenizer has none, and a decoder needs one")
    forward = choose_forward(
        model,
        share_prompt=settings.share_prompt,
        keep_bytes=int(settings.prefix_cache_mb * 1024 * 1024),
        keep_s=settings.prefix_life_s,
        every_token=settings.compile,
    )
    if settings.compile:
        model.compile()
    info = ModelInfo(
        name=settings.model_name,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        pooling=model.pooling,
        parameters=model.parameters,
        labels=tuple(model.labels if steps is None else [model.labels[model.right]]),
        weights=tuple(model.weights if steps is None else [1.0]),
        max_tokens=_max_tokens(settings, model, tokenizer),
        normalisation=_normalisation(meta),
        revision=settings.revision,
        layout="padded" if forward.prompts is None else "shared_prompt",
        partial_turn=settings.partial_turn,
        activation=activation_of(model.net.config) if steps is None else "none",
        steps=steps,
    )
    return ScorerParts(renderer, forward, info)


def _load_tokenizer(settings: ModelSettings) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            settings.model,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
        )
    except (OSError, ValueError, KeyError) as error:
        raise StartupError("model", f"its tokenizer cannot be loaded: {error}") from error
    return tokenizer


def _read_template(settings: ModelSettings) -> str | None:
    if settings.chat_template is None:
        return None
    try:
        return Path(settings.chat_template).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError("chat_template", str(error)) from error


def _max_tokens(
    settings: ModelSettings, model: RewardModel, tokenizer: PreTrainedTokenizerBase
) -> int:
    limit = model.context_limit
    if limit is None and tokenizer.model_max_length < UNSET_LENGTH:
        limit = tokenizer.model_max_length
    if settings.max_tokens is None:
        if limit is None:
            raise StartupError("max_tokens", "the model states no context limit; set one")
        return limit
    if limit is not None and settings.max_tokens > limit:
        raise StartupError("max_tokens", f"{settings.max_tokens} is over the model's {limit}")
    return settings.max_tokens


def _trainers_notes(settings: ModelSettings) -> dict[str, Any] | None:
    """Read `rm_meta.json` beside the weights, if the trainer left one."""
    path = Path(settings.model) / "rm_meta.json"
    if not path.is_file():
        return None
    try:
        meta = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise StartupError("model", f"rm_meta.json is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise StartupError("model", "rm_meta.json is not an object")
    return meta


def _normalisation(meta: dict[str, Any] | None) -> dict[str, Any] | None:
    if meta is None:
        return None
    found = meta.get("normalisation", meta)
    return found if isinstance(found, dict) else {"normalisation": found}


def _steps(settings: ModelSettings, meta: dict[str, Any] | None) -> StepReading | None:
    if settings.steps is not None:
        return settings.steps.reading
    if meta is None or meta.get("steps") is None:
        return None
    try:
        return read_step_notes(meta["steps"])
    except ValueError as error:
        raise StartupError("model", f"rm_meta.json has broken steps: {error}") from error


def _trained_weights(meta: dict[str, Any] | None) -> dict[str, float] | None:
    """The weight of each label in the reward that the model was trained for."""
    dimensions = [] if meta is None else meta.get("dimensions", [])
    try:
        return {str(one["name"]): float(one["weight"]) for one in dimensions} or None
    except (TypeError, KeyError, ValueError) as error:
        raise StartupError(
            "model", f"rm_meta.json has no weights in its dimensions: {error}"
        ) from error
