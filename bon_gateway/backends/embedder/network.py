"""A sentence model: texts in, vectors of length 1 out."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from bon_common.loaded_model import position_limit, require_weights
from bon_gateway.backends.embedder.in_process_settings import InProcessEmbedderSettings
from bon_gateway.types import Vector

_log = logging.getLogger(__name__)


class SentenceModel:
    """Turns texts into vectors when called. Call it from one thread at a time."""

    def __init__(self, model: Any, tokenizer: Any, settings: InProcessEmbedderSettings) -> None:
        limits = (position_limit(model), tokenizer.model_max_length, settings.max_tokens)
        self._most = min(limit for limit in limits if limit is not None)
        self._model, self._tokenizer = model, tokenizer
        self._first = settings.pooling == "cls"
        if tokenizer.pad_token is None:
            # The mask hides padding, so any token will do.
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        tokenizer.padding_side = "right"

    def __call__(self, texts: Sequence[str]) -> list[Vector]:
        read = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._most, return_tensors="pt"
        ).to(self._model.device)
        with torch.inference_mode():
            states = self._model(
                input_ids=read["input_ids"], attention_mask=read["attention_mask"]
            ).last_hidden_state.float()
            pooled = states[:, 0] if self._first else _mean(states, read["attention_mask"])
            found: list[Vector] = torch.nn.functional.normalize(pooled, dim=-1).cpu().tolist()
        return found


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean of [B, T, D] over the tokens that ``mask`` [B, T] shows: [B, D]."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def load_sentence_model(settings: InProcessEmbedderSettings) -> SentenceModel:
    """Blocks for seconds. Raises transformers' own errors, and ValueError for an incomplete
    model."""
    started = time.monotonic()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    dtype: Any = settings.dtype
    if dtype == "auto" and name == "cpu":
        # Half precision is slow on most CPUs, and exactness is cheap there.
        dtype = torch.float32
    source: dict[str, Any] = {
        "revision": settings.revision,
        "trust_remote_code": settings.trust_remote_code,
    }
    tokenizer = AutoTokenizer.from_pretrained(settings.model, **source)
    loaded: Any = AutoModel.from_pretrained(
        settings.model,
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # `require_weights` names them
        **source,
    )
    model, info = loaded
    require_weights(info, lambda weight: weight.startswith(("pooler.", "bert.pooler.")))
    model.to(torch.device(name)).eval()
    seconds = time.monotonic() - started
    _log.info("embedder %s is loaded on %s in %.1f s", settings.model, name, seconds)
    return SentenceModel(model, tokenizer, settings)
