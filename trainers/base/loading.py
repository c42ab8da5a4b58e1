"""Models and tokenizers by folder or hub name, with errors that say what is missing.

Code that comes with a checkpoint is never run.
"""

import logging
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from bon_common.loaded_model import UnfitModelError, keep_softcap, require_policy, require_weights
from trainers.base.adapters import Adapter, attach, find_adapter, model_source
from trainers.base.errors import ModelError, SettingsError
from trainers.base.quantization import quantization_options
from trainers.base.settings import TrainSettings

TOKENIZER = "tokenizer_config.json"
BROKEN_WEIGHTS = (UnpicklingError, struct.error, EOFError, LookupError)
"""What torch's own reader raises for a `pytorch_model.bin` that is not one."""
MayLack = Callable[[Any, str], bool]
"""Whether a network may start with a weight, by its name, that its checkpoint lacks."""


class AutoClass(Protocol):
    """`AutoModelForCausalLM` and its like."""

    def from_pretrained(
        self, pretrained_model_name_or_path: str, *model_args: Any, **kwargs: Any
    ) -> Any: ...

    def from_config(self, config: Any, **kwargs: Any) -> Any: ...


def load_tokenizer(
    model: str | Path, revision: str | None = None, *, need_template: bool = True
) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint folder or hub model; an adapter without one has its base's.

    Raises ModelError if there is none, or it has no chat template and needs one; encoders that
    read pairs of texts need none.
    """
    source = model_source(model)
    adapter = find_adapter(source, revision)
    if adapter is not None and adapter.base and not (Path(adapter.folder) / TOKENIZER).is_file():
        return load_tokenizer(adapter.base, adapter.base_revision, need_template=need_template)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            source, revision=revision, trust_remote_code=False
        )
    except Exception as error:  # the library's own has no other class
        raise ModelError(_why(source, "no tokenizer can be loaded", error)) from error
    if need_template and tokenizer.chat_template is None:
        raise ModelError(f"{source}: the tokenizer has no chat template")
    return tokenizer


def load_config(model: str | Path, revision: str | None = None, **options: Any) -> Any:
    """The configuration of a model, or of the one below an adapter; ModelError if there is none."""
    source = model_source(model)
    adapter = find_adapter(source, revision)
    if adapter is not None:
        return load_config(base_of(adapter), adapter.base_revision, **options)
    try:
        return AutoConfig.from_pretrained(
            source, revision=revision, trust_remote_code=False, **options
        )
    except (OSError, ValueError) as error:
        raise ModelError(_why(source, "no such model can be loaded", error)) from error


def load_model(kind: AutoClass, settings: TrainSettings, **options: Any) -> Any:
    """The `PreTrainedModel` to start from, in float32 unless quantized.

    `options` are those of `load_pretrained`. The seed is set first: a head that may be new is
    drawn at random. Raises ModelError if the model cannot be loaded, lacks weights, or is of
    another kind.
    """
    set_seed(settings.seed)
    if settings.quantization is not None:
        options |= quantization_options(settings.quantization)
        if find_adapter(model_source(settings.model), settings.revision) is not None:
            # Merged into four bits, what the adapter learnt would be rounded away.
            raise ModelError(f"quantization: {settings.model} is an adapter; export it first")
    if settings.adapter == "merge":
        return load_pretrained(kind, settings.model, settings.revision, **options)
    adapter = find_adapter(settings.model, settings.revision)
    if adapter is None:
        raise SettingsError(f"adapter: continue: {settings.model} is no adapter")
    if kind is AutoModelForSequenceClassification and adapter.outputs is None:
        raise SettingsError(
            f"adapter: continue: {settings.model} brings no reward head to go on with; merge it"
        )
    return load_adapted(kind, adapter, trainable=True, **options)


def load_pretrained(
    kind: AutoClass,
    model: str | Path,
    revision: str | None = None,
    *,
    may_lack: MayLack | None = None,
    **options: Any,
) -> Any:
    """`kind.from_pretrained` in float32 unless `dtype` says otherwise; an adapter is merged.

    Raises ModelError if it fails, or if the checkpoint lacks a weight: the library would draw it at
    random. `may_lack` tells, for the network and a weight's name, which ones a run starts anew;
    their names are then `new_weights` of the network.
    """
    source = model_source(model)
    adapter = find_adapter(source, revision)
    if adapter is None:
        return _load(kind, source, revision, may_lack, options)
    merged = load_adapted(kind, adapter, may_lack=may_lack, **options).merge_and_unload()
    merged.requires_grad_(True)  # peft froze all but its own
    merged.new_weights = [name for name in merged.new_weights if name not in adapter.shapes]
    # What is trained on top of it must name this model below, not the one under the adapter.
    merged.name_or_path = source
    return merged


def load_adapted(
    kind: AutoClass,
    adapter: Adapter,
    *,
    trainable: bool = False,
    may_lack: MayLack | None = None,
    **options: Any,
) -> Any:
    """The model that an adapter names, under the adapter: a `PeftModel`.

    What the model lacks the adapter must bring. Raises ModelError as `load_pretrained`, and for an
    adapter of the other kind.
    """
    if kind is AutoModelForSequenceClassification and "num_labels" not in options:
        if adapter.outputs is None:
            raise ModelError(
                f"{adapter.folder}: the adapter brings no reward head "
                "(train it with modules_to_save: score)"
            )
        options["num_labels"] = adapter.outputs
    if kind is AutoModelForCausalLM and adapter.task == "SEQ_CLS":
        raise ModelError(f"{adapter.folder}: an adapter of a reward model, not of a policy")

    def brought(net: Any, name: str) -> bool:
        return name in adapter.shapes or (may_lack is not None and may_lack(net, name))

    base = load_pretrained(
        kind, base_of(adapter), adapter.base_revision, may_lack=brought, **options
    )
    if kind is AutoModelForSequenceClassification:
        # An adapter has no configuration of its own; padding was set when it was trained.
        pad = load_tokenizer(adapter.folder, need_template=False).pad_token_id
        base.config.get_text_config().pad_token_id = pad
    return attach(base, adapter, trainable=trainable)


def base_of(adapter: Adapter) -> str:
    """The model below an adapter; ModelError if the adapter does not name it."""
    if adapter.base is None:
        raise ModelError(f"{adapter.folder}: the adapter does not name its model")
    return adapter.base


def _load(
    kind: AutoClass,
    source: str,
    revision: str | None,
    may_lack: MayLack | None,
    options: dict[str, Any],
) -> Any:
    options = {"dtype": torch.float32, **options}
    try:
        with _silent():
            net, info = kind.from_pretrained(
                source,
                revision=revision,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # `require_weights` names them
                **options,
            )
        if kind is AutoModelForCausalLM:
            require_policy(net.config)
        net.new_weights = require_weights(
            info, None if may_lack is None else partial(may_lack, net)
        )
    except UnfitModelError as error:
        raise ModelError(f"{source}: {error}") from error
    except (*BROKEN_WEIGHTS, OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(_why(source, "no such model can be loaded", error)) from error
    keep_softcap(net)
    return net


@contextmanager
def _silent() -> Iterator[None]:
    """Without the library's report of missing and unused weights: an error here, or meant so."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _why(source: str, what: str, error: Exception) -> str:
    if Path(source).is_dir():
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"{source}: {what}: {lines[0]}"
    # The hub's own messages are several lines long, and of many kinds.
    return (
        f"{source}: no such model folder, and the hub did not give a model of that name "
        "(misspelt, private, or no network and not in the local cache)"
    )


def find_device(name: str) -> torch.device:
    """A torch device by name; ModelError if this machine has none of that name."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"device {name}: not on this machine: {reason}") from error
    return device
