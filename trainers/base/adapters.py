"""Adapters as peft and TRL leave them: a folder of thin weights that names the model below them."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers.utils.hub import cached_file
from transformers.utils.peft_utils import find_adapter_config_file

from trainers.base.errors import ModelError

WEIGHTS = "adapter_model.safetensors"
INNER = "base_model.model."
"""peft's prefix of the names in an adapter's file."""
LARGE = frozenset({".safetensors", ".bin", ".json", ".model"})
POINTER = b"version https://git-lfs"
HEAD_ENDINGS = ("score.weight", "classifier.weight", "out_proj.weight")


@dataclass(frozen=True)
class Adapter:
    folder: str
    base: str | None
    """Folder or hub name of the model below; None if the adapter does not name it."""
    base_revision: str | None
    task: str | None
    """`CAUSAL_LM`, `SEQ_CLS`, ...; None if the adapter does not say."""
    shapes: dict[str, tuple[int, ...]]
    """Of its weights, by their names in the model below."""

    @property
    def outputs(self) -> int | None:
        """How many numbers the reward head that it brings gives; None if it brings none."""
        for name, shape in self.shapes.items():
            if name.endswith(HEAD_ENDINGS):
                return shape[0]
        return None


def model_source(model: str | Path) -> str:
    """The folder or hub name; ModelError for what can only be a folder and is not there."""
    name = str(model)
    if Path(name).is_dir():
        _refuse_pointers(Path(name))
        return name
    owner, slash, rest = name.partition("/")
    if isinstance(model, Path) or not slash or "/" in rest or owner in {"", ".", "..", "~"}:
        raise ModelError(f"{name}: no such model folder")
    return name


def _refuse_pointers(folder: Path) -> None:
    """Raise ModelError for a folder that git fetched without the large files."""
    for path in sorted(folder.glob("*.*")):
        if path.suffix in LARGE and path.is_file():
            with path.open("rb") as file:
                if file.read(len(POINTER)) == POINTER:
                    raise ModelError(
                        f"{path}: a pointer of Git LFS, not the file; `git lfs pull` gets the file"
                    )


def find_adapter(model: str | Path, revision: str | None = None) -> Adapter | None:
    """The adapter in a folder or hub repository, or None if a whole model is there.

    Raises ModelError for a broken one.
    """
    source = model_source(model)
    found = find_adapter_config_file(source, revision=revision)
    if found is None:
        return None
    path = Path(found)
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        weights = cached_file(source, WEIGHTS, revision=revision)
    except ValueError as error:
        raise ModelError(f"{path}: broken JSON: {error}") from error
    except OSError as error:
        raise ModelError(f"{model}: an adapter without {WEIGHTS}") from error
    assert weights is not None, "cached_file raises where there is none"
    return Adapter(
        folder=str(path.parent),
        base=values.get("base_model_name_or_path") or None,
        base_revision=values.get("revision"),
        task=values.get("task_type"),
        shapes=_shapes(Path(weights)),
    )


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, framework="pt") as weights:
            names = list(weights.keys())
            return {
                name.removeprefix(INNER): tuple(weights.get_slice(name).get_shape())
                for name in names
            }
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: {error}") from error


def attach(base: Any, adapter: Adapter, *, trainable: bool = False) -> Any:
    """`base` under the adapter, a `PeftModel`; ModelError unless every weight of it is there."""
    try:
        with warnings.catch_warnings():
            # peft warns of what the adapter lacks; here it is an error.
            warnings.filterwarnings("ignore", message="Found missing adapter keys")
            config = PeftConfig.from_pretrained(adapter.folder)
            if adapter.outputs is None and not hasattr(base, "prepare_inputs_for_generation"):
                config.task_type = None  # a policy's adapter, below the new head of a reward model
            model = PeftModel.from_pretrained(
                base, adapter.folder, is_trainable=trainable, config=config
            )
    except KeyError as error:
        raise ModelError(f"{adapter.folder}: the adapter lacks {error}") from error
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        lines = str(error).split("\n") if str(error).strip() else [type(error).__name__]
        # torch names the first layer below a heading.
        reason = " ".join(" ".join(lines[:2] if lines[0].endswith(":") else lines[:1]).split())
        raise ModelError(f"{adapter.folder}: no adapter for {adapter.base}: {reason}") from error
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    lacking = sorted({name.removeprefix(INNER) for name in own} - adapter.shapes.keys())
    if lacking:
        raise ModelError(f"{adapter.folder}: the adapter lacks {', '.join(lacking[:3])}")
    return model
