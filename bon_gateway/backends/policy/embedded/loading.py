"""From settings to a loaded causal language model."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging
from transformers.utils.peft_utils import find_adapter_config_file

from bon_common.loaded_model import (
    keep_softcap,
    position_limit,
    refuse_adapter,
    require_policy,
    require_room,
    require_weights,
)
from bon_gateway.backends.policy.embedded.logprobs import TokenTable
from bon_gateway.backends.policy.embedded.network import CausalNetwork
from bon_gateway.backends.policy.embedded.params import GENERATION_DEFAULTS
from bon_gateway.backends.policy.embedded.settings import TransformersPolicySettings
from reward_server.network.packed_linear import pack_weights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

LEAST_PACKED = 1 << 17
"""Weights of the smallest matrix that is packed."""
NO_LIMIT = 10**9
"""A tokenizer without a limit names a number far above this."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Everything that a request needs of the model."""

    network: CausalNetwork
    tokenizer: PreTrainedTokenizerBase
    token_table: TokenTable
    device: torch.device
    vocabulary: int
    """Number of token ids in the logits."""
    context: int | None
    """Most tokens that prompt and answer may have together; None is no limit."""
    eos_ids: frozenset[int]
    defaults: Mapping[str, Any]
    """Values for ``GENERATION_DEFAULTS``: the settings' or else the checkpoint's own."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """The text of ``ids``, without cleaning up spaces."""
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )
        return str(text)


def load_causal_model(settings: TransformersPolicySettings) -> LoadedModel:
    """Load model and tokenizer and try the model. Blocks for seconds to minutes.

    Raises what transformers raises, and ValueError for a model that cannot chat or is not whole.
    """
    started = time.monotonic()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = _device(settings.device)
    source: dict[str, Any] = {
        "revision": settings.revision,
        "trust_remote_code": settings.trust_remote_code,
    }
    refuse_adapter(find_adapter_config_file(settings.model, revision=settings.revision))
    tokenizer = AutoTokenizer.from_pretrained(settings.model, **source)
    if not tokenizer.chat_template:
        raise ValueError("its tokenizer has no chat template")
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        settings.model,
        dtype=_dtype(settings.dtype, device),
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # `require_weights` names them
        **source,
    )
    model, info = loaded
    require_policy(model.config)
    require_weights(info)
    require_room(model, tokenizer)
    keep_softcap(model)
    model.to(device).eval()
    if settings.pack_weights:
        pack_weights(model, LEAST_PACKED)
    network = CausalNetwork(model)
    network.probe(device)
    assembled = assemble(model, network, tokenizer, device)
    ours = settings.generation.model_dump(exclude_none=True)
    assembled = replace(assembled, defaults={**assembled.defaults, **ours})
    logger.info(
        "policy model %s is loaded on %s as %s in %.1f s",
        settings.model,
        device,
        model.dtype,
        time.monotonic() - started,
    )
    return assembled


def assemble(
    model: Any, network: CausalNetwork, tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> LoadedModel:
    """Collect the limits and defaults of ``model`` and ``tokenizer``."""
    text_config = model.config.get_text_config()
    generation = model.generation_config.to_diff_dict()
    limits = (position_limit(model), tokenizer.model_max_length)
    known = [int(limit) for limit in limits if limit is not None and limit < NO_LIMIT]
    eos_ids: set[int] = set()
    for ids in (tokenizer.eos_token_id, generation.get("eos_token_id")):
        eos_ids.update(() if ids is None else [ids] if isinstance(ids, int) else ids)
    return LoadedModel(
        network=network,
        tokenizer=tokenizer,
        token_table=TokenTable(tokenizer),
        device=device,
        vocabulary=int(text_config.vocab_size),
        context=min(known, default=None),
        eos_ids=frozenset(eos_ids),
        defaults={
            name: generation[name]
            for name in GENERATION_DEFAULTS
            if generation.get(name) is not None
        },
    )


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _dtype(name: str, device: torch.device) -> torch.dtype | str:
    if name != "auto":
        return name
    # Half precision is slow on most CPUs, and exactness is cheap there.
    return torch.float32 if device.type == "cpu" else "auto"
