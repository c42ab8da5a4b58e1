"""Models and tokenizers by folder or hub name, with errors that say what is missing.

Code that comes with a checkpoint is never run.
"""

from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedTokenizerBase, set_seed

from trainers.base.errors import ModelError
from trainers.base.settings import TrainSettings


class AutoClass(Protocol):
    """`AutoModelForCausalLM` and its like."""

    def from_pretrained(
        self, pretrained_model_name_or_path: str, *model_args: Any, **kwargs: Any
    ) -> Any: ...


def load_tokenizer(
    model: str | Path, revision: str | None = None, *, need_template: bool = True
) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint folder or hub model.

    Raises ModelError if there is none, or it has no chat template and needs one; encoders that
    read pairs of texts need none.
    """
    source = _source(model)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            source, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ModelError(_why(source, "no tokenizer can be loaded", error)) from error
    if need_template and tokenizer.chat_template is None:
        raise ModelError(f"{source}: the tokenizer has no chat template")
    return tokenizer


def load_model(kind: AutoClass, settings: TrainSettings, **options: Any) -> Any:
    """The `PreTrainedModel` to start from, in float32; `options` go to `from_pretrained`.

    The seed is set first: a head that the checkpoint lacks is drawn at random. Raises ModelError
    if the model cannot be loaded, or is of another kind.
    """
    set_seed(settings.seed)
    return load_pretrained(kind, settings.model, settings.revision, **options)


def load_pretrained(
    kind: AutoClass, model: str | Path, revision: str | None = None, **options: Any
) -> Any:
    """`kind.from_pretrained` in float32 unless `dtype` says otherwise; ModelError if it fails."""
    source = _source(model)
    options = {"dtype": torch.float32, **options}
    try:
        return kind.from_pretrained(source, revision=revision, trust_remote_code=False, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(_why(source, "no such model can be loaded", error)) from error


def _source(model: str | Path) -> str:
    """The folder or hub name; ModelError for what can only be a folder and is not there."""
    name = str(model)
    if Path(name).is_dir():
        return name
    owner, slash, rest = name.partition("/")
    if isinstance(model, Path) or not slash or "/" in rest or owner in {"", ".", "..", "~"}:
        raise ModelError(f"{name}: no such model folder")
    return name


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
