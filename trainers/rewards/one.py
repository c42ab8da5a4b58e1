"""Rewards of whole conversations, read and scored exactly as the reward server does it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerBase,
)

from bon_common.process_reward import StepReading, aggregated
from reward_server.network.model import RewardModel
from reward_server.network.sequence import Output, Rendered
from reward_server.scoring.render import Renderer
from trainers.base.data import Conversation
from trainers.base.errors import ModelError
from trainers.base.fit import outline, require_fit
from trainers.base.loading import find_device, load_pretrained, load_tokenizer
from trainers.base.settings import TemplateSettings
from trainers.base.template import refusals
from trainers.base.tokenizer import padding_advice, training_tokenizer
from trainers.rewards.ensemble import refuse_ensemble
from trainers.rewards.meta import read_meta


def render(renderer: Renderer, judged: Conversation, where: str) -> Rendered:
    """A conversation that ends with an answer; DataError, naming `where`, if it is refused."""
    *asked, answer = judged.messages
    with refusals(where):
        return renderer.render(asked, answer, judged.inputs.tools)


def require_own_pad(
    tokenizer: PreTrainedTokenizerBase, folder: str | Path, advice: str = ""
) -> None:
    """Raise ModelError unless there is a padding token, and it is not the end-of-turn token.

    With pad == eos, transformers reads the reward one token before the end and vLLM at the end.
    """
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        reason = "a reward model needs a padding token that is not the end-of-turn token"
        raise ModelError(f"{folder}: {'; '.join(filter(None, (reason, advice)))}")


def load_reward_tokenizer(
    model: str | Path, revision: str | None = None, settings: TemplateSettings | None = None
) -> Any:
    """The tokenizer to score with, or to train with as `settings` say.

    Raises ModelError if its padding would make the place of the reward ambiguous, or if a decoder
    has no chat template; an encoder without one reads prompt and answer as a pair of texts.
    """
    refuse_ensemble(model, "what is read here")
    if settings is None:
        tokenizer = load_tokenizer(model, revision, need_template=False)
        require_own_pad(tokenizer, model)
    else:
        tokenizer = training_tokenizer(str(model), revision, settings, need_template=False)
        require_own_pad(tokenizer, model, padding_advice(tokenizer))
    if tokenizer.chat_template is None and _is_decoder(str(model), revision):
        advice = "" if settings is None else "; set chat_template"
        raise ModelError(f"{model}: the tokenizer has no chat template{advice}")
    return tokenizer


def _is_decoder(model: str, revision: str | None) -> bool:
    """Whether the reward is read at the last token."""
    net = outline(AutoModelForSequenceClassification, model, revision, num_labels=1)
    return RewardModel(net, allow_pad_eos=True).pooling == "last_token"


class OneModel:
    """A reward model, scoring conversations in batches of like length."""

    def __init__(
        self,
        net: Any,
        tokenizer: Any,
        weights: Mapping[str, float] | None,
        steps: StepReading | None = None,
    ) -> None:
        """`weights` combine the outputs of a model with several; `steps` are those of a process
        reward model."""
        self.model = RewardModel(net, label_weights=weights, steps=steps)
        self.renderer = Renderer(tokenizer, steps=steps)
        self.steps = steps
        names = self.model.labels
        self.weights = [1.0] if weights is None else [weights.get(name, 0.0) for name in names]

    @classmethod
    def load(
        cls,
        reward: Path,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        label_weights: Mapping[str, float] | None = None,
        steps: StepReading | None = None,
    ) -> "OneModel":
        """Load a folder; `device` is a name of torch's, or auto for a GPU if there is one. A
        process reward model is read by `steps`, by default those of its `rm_meta.json`.

        Raises ModelError if the folder holds no reward model, or one of several outputs and
        `label_weights` do not fit them, or there is no such device.
        """
        tokenizer = load_reward_tokenizer(reward)
        place = find_device(device)
        meta = read_meta(reward)
        steps = steps or (None if meta is None else meta.reading)
        if steps is not None and label_weights is not None:
            raise ModelError(f"{reward}: a process reward model has no label_weights")
        kind = AutoModelForSequenceClassification
        net = load_pretrained(kind if steps is None else AutoModelForTokenClassification, reward)
        require_fit(net, tokenizer, reward)
        net = net.to(device=place, dtype=dtype)
        names = [str(name) for name in net.config.id2label.values()]
        unknown = sorted(set(label_weights or ()) - set(names))
        if unknown or (label_weights is None and len(names) > 1 and steps is None):
            raise ModelError(f"{reward}: label_weights must weigh its outputs, {', '.join(names)}")
        return cls(net.eval(), tokenizer, label_weights, steps)

    def rewards(self, rendered: Sequence[Rendered], batch_size: int) -> torch.Tensor:
        """The reward of every sequence as the server gives it: float32 on the CPU."""
        if self.steps is None:
            return self.outputs(rendered, batch_size) @ torch.tensor(self.weights)
        how = self.steps.aggregate
        return torch.tensor(
            [aggregated(scores, how) for scores in self.step_scores(rendered, batch_size)]
        )

    def step_scores(self, rendered: Sequence[Rendered], batch_size: int) -> list[Output]:
        """The scores of each sequence's steps, by a process reward model."""
        found: list[Output] = [()] * len(rendered)
        for indices in _alike(rendered, batch_size):
            batch = [rendered[i] for i in indices]
            scores = self.model.outputs(
                [one.ids for one in batch], reads=[one.read_at for one in batch]
            )
            for index, output in zip(indices, scores, strict=True):
                found[index] = output
        return found

    def outputs(self, rendered: Sequence[Rendered], batch_size: int) -> torch.Tensor:
        """Every output for every sequence, (sequences, labels), float32 on the CPU."""
        found = torch.zeros(len(rendered), len(self.model.labels))
        for indices in _alike(rendered, batch_size):
            batch = [rendered[i] for i in indices]
            with torch.inference_mode():
                logits = self.model.logits(
                    [one.ids for one in batch], [one.token_types for one in batch]
                )
            found[indices] = logits.cpu()
        return found


def _alike(rendered: Sequence[Rendered], batch_size: int) -> Iterator[list[int]]:
    """Places of batches of like length, which waste little on padding."""
    order = sorted(range(len(rendered)), key=lambda i: len(rendered[i].ids))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def score(reward: Path, conversations: Sequence[Conversation], batch_size: int) -> list[float]:
    """The raw reward of each conversation, in the order given, in float32.

    Raises ModelError if the folder holds no reward model with one output.
    """
    model = OneModel.load(reward)
    rendered = [render(model.renderer, one, "a conversation") for one in conversations]
    return [float(reward) for reward in model.rewards(rendered, batch_size)]


def load_net(folder: Path) -> Any:
    """A reward model's network in float32; ModelError if the folder holds none with one output."""
    net = load_pretrained(AutoModelForSequenceClassification, folder)
    if net.config.num_labels != 1:
        raise ModelError(f"{folder}: {net.config.num_labels} outputs, a reward model has one")
    return net
