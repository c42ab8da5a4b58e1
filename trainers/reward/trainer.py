"""TRL's RewardTrainer with what it lacks: several answers a record, several outputs a model."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trl.trainer.reward_trainer import RewardTrainer

from reward_server.network.final_layer import FinalLayer, find_final_layer
from reward_server.network.model import has_score_head
from reward_server.network.step_heads import has_token_head
from trainers.reward.objectives import Objective, Outputs, batch_loss
from trainers.reward.shared_prompt import PADDING, kept_outputs, shared_rows, visible

MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


@dataclass(frozen=True)
class Collator:
    """Lays all answers of all records of a batch into one right-padded tensor.

    So the answers of a prompt share a batch. `places` of shape (records, answers) says which of the
    network's outputs is each answer's, -1 where a record has fewer answers than the longest.
    """

    pad: int
    shared: bool = False
    """Whether a record's answers may stand in one row, behind what they share."""
    window: float = math.inf
    """A batch with a longer conversation has a row for each answer."""
    batches: Counter[bool] = field(default_factory=Counter)
    """How many had one row a record, and how many did not."""

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """The rows, and the records' targets beside them."""
        together = self._together(rows)
        self.batches[together is not None] += 1
        batch = together or self._apart(rows)
        for name in rows[0]["targets"]:
            values = [torch.tensor(row["targets"][name], dtype=torch.float32) for row in rows]
            batch[name] = pad_sequence(values, True) if values[0].dim() else torch.stack(values)
        return batch

    def _together(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor] | None:
        """A row a record, with `segments` and positions; None where that does not pay."""
        if not self.shared or max(row["length"] for row in rows) > self.window:
            return None
        laid = shared_rows([row["sequences"] for row in rows], self.pad)
        if laid is None:
            return None
        return {
            "input_ids": laid.ids,
            "attention_mask": (laid.segments != PADDING).long(),
            "position_ids": laid.positions,
            "segments": laid.segments,
            "places": laid.places,
        }

    def _apart(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """A row an answer."""
        sequences = [torch.tensor(ids) for row in rows for ids in row["sequences"]]
        batch = {
            "input_ids": pad_sequence(sequences, batch_first=True, padding_value=self.pad),
            "attention_mask": pad_sequence([torch.ones_like(s) for s in sequences], True),
        }
        if "token_types" in rows[0]:
            types = [torch.tensor(types) for row in rows for types in row["token_types"]]
            batch["token_type_ids"] = pad_sequence(types, batch_first=True)
        if "reads" in rows[0]:  # one row per record, read at each step
            longest = batch["input_ids"].shape[1]
            reads = [
                number * longest + torch.tensor(row["reads"]) for number, row in enumerate(rows)
            ]
            batch["places"] = pad_sequence(reads, batch_first=True, padding_value=-1)
            return batch
        counts = [len(row["sequences"]) for row in rows]
        starts = torch.tensor(counts).cumsum(0) - torch.tensor(counts)
        places = [start + torch.arange(count) for start, count in zip(starts, counts, strict=True)]
        batch["places"] = pad_sequence(places, batch_first=True, padding_value=-1)
        return batch


def by_record(logits: Tensor, places: Tensor, weights: Tensor) -> Outputs:
    """(outputs, dimensions) as the network gives them, sorted to their records in float32."""
    present = places >= 0
    labels = logits.float()[places.clamp(min=0)].masked_fill(~present[:, :, None], 0)
    return Outputs(labels, labels @ weights.to(labels), present)


def _in_float32(head: torch.nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
    """What a head gives without autocast: bfloat16 would round close answers into ties."""
    with torch.autocast(inputs[0].device.type, enabled=False):
        outputs: Tensor = head.forward(inputs[0].float())
    return outputs


class PreferenceTrainer(RewardTrainer):
    """Trains on rows of `sequences`, `length`, `targets` and, for some encoders, `token_types`."""

    def __init__(
        self,
        *,
        model: Any,
        objective: Objective,
        weights: Sequence[float],
        center: float = 0.0,
        read_only: bool = False,
        **options: Any,
    ) -> None:
        """`weights` combine the model's outputs to the reward, `center` weighs the pull to a zero
        mean; `read_only` has the last layer compute the tokens that are read, and no others; all
        else is RewardTrainer's."""
        names = dict(model.config.id2label)
        # TRL refuses a model with several outputs, though only its loss needs a single one, and
        # that is replaced here.
        model.config.num_labels = 1
        model.config.use_cache = False  # nothing is generated
        super().__init__(model=model, **options)
        model.config.id2label = names
        model.config.label2id = {name: index for index, name in names.items()}
        if self.args.bf16 and (has_score_head(self._network) or has_token_head(self._network)):
            self._network.score.register_forward_hook(_in_float32)
        self._objective = objective
        self._center = center
        self._label_weights = torch.tensor(weights, dtype=torch.float32)
        self._final: FinalLayer | None = None
        if read_only:  # looked up here, below any adapters
            net = self._network
            self._final = find_final_layer(getattr(net, net.base_model_prefix))

    def _prepare_dataset(self, dataset: Any, *args: Any, **options: Any) -> Any:
        return dataset  # the rows are token ids already, rendered as the reward server does it

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The objective's mean over the records of the batch."""
        # Called as a whole, so that adapters and data parallelism take part.
        given = {name: inputs[name] for name in MODEL_INPUTS if name in inputs}
        if "segments" in inputs:
            given["attention_mask"] = visible(inputs["segments"], self._network.dtype)
            places = inputs["places"]
            read = (
                nullcontext()
                if self._final is None
                else self._final.only(places[places >= 0], inputs["input_ids"].shape)
            )
            with read, kept_outputs(self._network.score) as tokens:
                found = model(**given)
            logits = tokens[-1].flatten(0, 1)
        else:
            found = model(**given)
            # (rows, labels), or one number for each token: (rows, tokens, labels).
            logits = found.logits.flatten(0, -2)
        outputs = by_record(logits, inputs["places"], self._label_weights)
        loss, metrics = batch_loss(self._objective, outputs, inputs, self._center)
        self._note(inputs["attention_mask"], outputs, metrics)
        return (loss, found) if return_outputs else loss

    @property
    def _network(self) -> Any:
        """The classifier itself, without what adapters wrap it in."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    def _note(self, mask: Tensor, outputs: Outputs, metrics: Mapping[str, Tensor]) -> None:
        """Keep what `log` of RewardTrainer averages, gathered over all processes."""
        assert self.model is not None
        gather, mode = self.accelerator.gather, "train" if self.model.training else "eval"
        rewards = outputs.rewards.detach()[outputs.present]
        if mode == "train":
            self._total_train_tokens += int(gather(mask.sum()).sum())
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
        means = {"mean_reward": rewards.mean(), **metrics}
        for name, value in means.items():
            self._metrics[mode][name].append(gather(value.detach().float()).mean().item())
        self._metrics[mode]["min_reward"].append(gather(rewards.min()).min().item())
        self._metrics[mode]["max_reward"].append(gather(rewards.max()).max().item())
