"""The reward model: token ids in, one raw scalar per sequence out.

Holds the network and decides where its output is read. The caller chooses which sequences share a
call; the reward of a sequence does not depend on that.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.utils.peft_utils import find_adapter_config_file

from bon_common.loaded_model import (
    UnfitModelError,
    keep_softcap,
    position_limit,
    refuse_adapter,
    require_weights,
)
from bon_common.process_reward import StepReading, step_score
from reward_server.errors import BatchMemoryError, StartupError
from reward_server.model_path import check_place
from reward_server.network.checkpoint import class_of, find_device, find_dtype
from reward_server.network.labels import right_of, weights_of
from reward_server.network.packing import Layout
from reward_server.network.sequence import Output
from reward_server.network.step_heads import TOKEN_CLASSIFIER, has_token_head

Pooling = Literal["last_token", "model", "steps"]
IdLists = Sequence[Sequence[int]]
TypeLists = Sequence[Sequence[int] | None] | None
"""For each sequence an encoder's segment ids, or None."""
Reads = Sequence[Sequence[int]] | None
"""For each sequence the tokens at which its output is read; None is the last token of each."""

SCORE_HEAD_MODEL_TYPES = frozenset(
    {"biogpt", "bloom", "falcon", "gpt2", "gpt_bigcode"}
    | {"gpt_neo", "gpt_neox", "gptj", "mpt", "opt"}
)
"""Decoders that carry a `score` head without sharing the generic class of newer ones."""


class RewardModel:
    """A classifier read as a reward, of whole sequences or of the steps of an answer.

    Decoders are read at each sequence's last token by its known length. Their own pooling
    searches for the padding id instead, and goes wrong when that id occurs in the text.
    Other architectures pool by themselves, under the attention mask.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        label_weights: Mapping[str, float] | None = None,
        allow_pad_eos: bool = False,
        steps: StepReading | None = None,
    ) -> None:
        """Wrap a loaded `AutoModelForSequenceClassification` network, or with `steps` one that
        scores tokens.

        Raises StartupError when the labels need weights, when the padding token of a decoder is
        also its end of text (see `_refuse_pad_eos`), or when the network does not fit `steps`.
        """
        config: Any = net.config
        text_config = config.get_text_config()
        keep_softcap(net)
        self.net = net
        self.steps = steps
        self.reads_tokens = has_score_head(net) or has_token_head(net)
        """Whether this class applies the head itself, only to tokens that are read."""
        self.pooling: Pooling = "last_token" if has_score_head(net) else "model"
        if steps is not None:
            self.pooling = _require_steps(net)
        self.labels = [str(config.id2label[i]) for i in range(config.num_labels)]
        self.parameters = sum(p.numel() for p in net.parameters())
        self.context_limit = position_limit(net)
        self.right = 0
        """Index of the label that means a right step."""
        if steps is None:
            self.weights = weights_of(self.labels, label_weights)
        else:
            self.right = right_of(self.labels, steps, label_weights)
            self.weights = [float(i == self.right) for i in range(len(self.labels))]
        pad = text_config.pad_token_id
        if self.pooling == "last_token" and not allow_pad_eos:
            _refuse_pad_eos(pad, text_config.eos_token_id)
        self._pad = 0 if pad is None else int(pad)  # masked, so any id will do

    @classmethod
    def load(
        cls,
        path: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        revision: str | None = None,
        trust_remote_code: bool = False,
        device_map: str | Mapping[str, int | str] | None = None,
        label_weights: Mapping[str, float] | None = None,
        allow_pad_eos: bool = False,
        steps: StepReading | None = None,
    ) -> RewardModel:
        """Load a checkpoint folder or hub id; blocks.

        `device` "auto" takes CUDA if there is one; `dtype` "auto" takes float32 on the CPU and
        bfloat16 elsewhere; with a `device_map` the library places the layers. Raises StartupError
        naming the setting at fault, also when the checkpoint lacks weights: a scoring head drawn
        at random would answer noise.
        """
        check_place(path)
        place = torch.device(find_device(device))
        if device_map is not None and importlib.util.find_spec("accelerate") is None:
            raise StartupError("device_map", "needs accelerate, which is not installed")
        try:
            refuse_adapter(find_adapter_config_file(path, revision=revision))
            kind = class_of(path, revision, trust_remote_code, steps)
            net, info = kind.from_pretrained(
                path,
                dtype=find_dtype(dtype, place),
                revision=revision,
                trust_remote_code=trust_remote_code,
                device_map=device_map,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # `require_weights` names them
            )
            require_weights(info)
        except UnfitModelError as error:
            raise StartupError("model", f"no reward model: {error}") from error
        except SafetensorError as error:
            reason = f"its weights cannot be read: {_first_line(error)}"
            raise StartupError("model", reason) from error
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            key = "model" if device_map is None else "device_map"
            raise StartupError(key, _first_line(error)) from error
        if device_map is None:
            net = net.to(place)
        net.eval()
        return cls(net, label_weights=label_weights, allow_pad_eos=allow_pad_eos, steps=steps)

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.net.parameters()).dtype

    @property
    def base(self) -> nn.Module:
        """The network below the score head."""
        base: nn.Module = getattr(self.net, str(self.net.base_model_prefix))
        return base

    @property
    def attention(self) -> str:
        """Which of the library's attention implementations the network computes."""
        config: Any = self.net.config
        return str(config._attn_implementation)  # noqa: SLF001 - the library has no getter

    @attention.setter
    def attention(self, name: str) -> None:
        net: Any = self.net
        net.set_attn_implementation(name)

    @property
    def caps_scores(self) -> bool:
        """Whether the network caps its attention scores, as Gemma 2 does."""
        config: Any = self.net.config
        return getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None

    def compile(self) -> None:
        """Have torch compile the network when it is first used, for sequences of any length.

        Raises StartupError where nothing can be compiled.
        """
        if self.device.type == "cpu" and shutil.which("g++") is None:
            raise StartupError("compile", "needs a C++ compiler (g++) on the CPU")
        self.base.compile(dynamic=True)

    def score(self, sequences: IdLists, token_types: TypeLists = None) -> list[float]:
        """Score sequences as one right-padded batch; same order and length as given.

        Always without dropout. Returns a non-finite reward as it is; the caller refuses it. Raises
        BatchMemoryError when the batch does not fit the device.
        """
        if not sequences:
            return []
        with self._inference():
            logits = self.logits(sequences, token_types)
            return (logits @ logits.new_tensor(self.weights)).tolist()

    def outputs(
        self, sequences: IdLists, token_types: TypeLists = None, reads: Reads = None
    ) -> list[Output]:
        """Like `score`, but with every label's raw number for each sequence; for a process reward
        model, the score of each step."""
        if not sequences:
            return []
        counts = [1] * len(sequences) if reads is None else [len(places) for places in reads]
        with self._inference():
            return self._by_sequence(self.logits(sequences, token_types, reads), counts)

    def outputs_of(self, layout: Layout) -> list[Output]:
        """Like `outputs`, for packed conversations in the order of `layout.places`.

        The network must compute `reward_server.network.attention`.
        """
        only: AbstractContextManager[None] = nullcontext()
        if layout.final is not None:
            only = layout.final.only(layout.last, layout.ids.shape)
        with self._inference(), only:
            hidden: Tensor = self.base(
                input_ids=layout.ids,
                position_ids=layout.positions,
                # The library builds masks of its own for anything but four dimensions.
                attention_mask=layout.ids.new_ones(1, 1, 1, 1, dtype=torch.bool),
                use_cache=False,
                layout=layout,
            ).last_hidden_state
            read = self._head(hidden[0, layout.reads.to(hidden.device)])
            return self._by_sequence(read, layout.counts)

    def _by_sequence(self, logits: Tensor, counts: Sequence[int]) -> list[Output]:
        """(reads, labels) to each sequence's output; without `steps` each is read once."""
        rows: list[list[float]] = logits.tolist()
        if self.steps is None:
            return [tuple(row) for row in rows]
        scores = iter([step_score(row, self.right) for row in rows])
        return [tuple(islice(scores, count)) for count in counts]

    @contextmanager
    def _inference(self) -> Iterator[None]:
        was_training = self.net.training
        self.net.eval()
        try:
            with torch.inference_mode():
                yield
        except torch.OutOfMemoryError as error:
            raise BatchMemoryError(_first_line(error)) from error
        except RuntimeError as error:  # the CPU allocator has no exception of its own
            if "allocate memory" not in str(error):
                raise
            raise BatchMemoryError(_first_line(error)) from error
        finally:
            if was_training:
                self.net.train()

    def logits(
        self, sequences: IdLists, token_types: TypeLists = None, reads: Reads = None
    ) -> Tensor:
        """Return raw label outputs, float32 of shape (reads, labels), sequence by sequence.

        Keeps gradients and the training mode, so a trainer optimises exactly what is served.
        """
        inputs: dict[str, Tensor] = {
            "input_ids": _padded(sequences, self._pad).to(self.device),
            "attention_mask": _padded([[1] * len(s) for s in sequences], 0).to(self.device),
        }
        if token_types is not None and all(types is not None for types in token_types):
            types = [list(types or ()) for types in token_types]
            inputs["token_type_ids"] = _padded(types, 0).to(self.device)
        if self.pooling == "model":
            output: Any = self.net(**inputs)
            logits: Tensor = output.logits.float()
            return logits
        reads = reads or [[len(s) - 1] for s in sequences]
        rows = [row for row, places in enumerate(reads) for _ in places]
        columns = [place for places in reads for place in places]
        if not self.reads_tokens:
            every: Any = self.net(**inputs)
            found: Tensor = every.logits[rows, columns].float()
            return found
        hidden: Tensor = self.base(**inputs, use_cache=False).last_hidden_state
        return self._head(hidden[rows, columns])

    def _head(self, read: Tensor) -> Tensor:
        """(reads, width) to (reads, labels), in float32: bfloat16 would round close candidates
        into ties."""
        head: Any = self.net.score
        layers: list[Any] = list(head) if isinstance(head, nn.Sequential) else [head]
        read = read.float()
        for layer in layers:
            read = _in_float32(layer, read) if isinstance(layer, nn.Linear) else layer(read)
        return read

    def check_padding(self) -> None:
        """Raise StartupError if a sequence's reward changes beside a longer one.

        Guards architectures unknown to this file, whose pooling may trip over padding.
        """
        vocabulary = int(self.net.get_input_embeddings().num_embeddings)  # type: ignore[operator]
        ids = [i % vocabulary for i in range(7, 19) if i % vocabulary != self._pad]
        eos = self.net.config.eos_token_id  # type: ignore[union-attr]
        end = [eos] if self.pooling == "model" and isinstance(eos, int) else []
        short, long = [*ids[:3], *end], [*ids, *end]
        alone, together = self.score([short])[0], self.score([long, short])[1]
        tolerance = 1e-3 if self.dtype == torch.float32 else 0.1
        if not math.isclose(alone, together, rel_tol=tolerance, abs_tol=tolerance):
            raise StartupError(
                "model",
                f"{type(self.net).__name__} scores {alone:.4f} alone and {together:.4f} in a "
                "padded batch, so its rewards cannot be compared",
            )


def _in_float32(layer: Any, read: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.float()
    return nn.functional.linear(read, layer.weight.float(), bias)


def _padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Return int64 of shape (rows, longest), filled on the right."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _require_steps(net: nn.Module) -> Pooling:
    """Raise StartupError for a network that gives one output for a whole sequence."""
    encoder = type(net).__name__.endswith(TOKEN_CLASSIFIER)
    if not (has_score_head(net) or has_token_head(net) or encoder):
        reason = f"{type(net).__name__} pools by itself, so no step of an answer can be read"
        raise StartupError("steps", reason)
    return "steps"


def has_score_head(net: nn.Module) -> bool:
    """Whether a decoder with a linear `score`, which is read at a conversation's last token."""
    if isinstance(net, GenericForSequenceClassification):
        return type(net).forward is GenericForSequenceClassification.forward
    known = isinstance(net, PreTrainedModel) and net.config.model_type in SCORE_HEAD_MODEL_TYPES
    return known and isinstance(getattr(net, "score", None), nn.Linear)


def _refuse_pad_eos(pad: int | None, eos: int | list[int] | None) -> None:
    """Refuse a decoder that pads with its end-of-text token.

    Where an answer ends in that token, transformers reads the reward before it and vLLM at it. The
    checkpoint does not tell for which of the two the model was trained.
    """
    if pad is not None and pad in (eos if isinstance(eos, list) else [eos]):
        raise StartupError(
            "allow_pad_eos",
            f"pad and end-of-text are both token {pad}, so where the reward is read is ambiguous "
            "(transformers: before a final one; vLLM: at it); give the checkpoint a pad token of "
            "its own, or set allow_pad_eos to read at the last token",
        )
