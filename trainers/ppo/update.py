"""The update: several passes over one iteration's rollouts, in minibatches, each one step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainers.base.errors import RunError
from trainers.base.seeds import seeded
from trainers.policy.logits import answer_logits
from trainers.policy.logps import token_entropy, token_logps
from trainers.policy.sequences import by_length
from trainers.ppo.kl import ESTIMATORS, k3
from trainers.ppo.losses import clip_fraction, policy_loss, value_loss
from trainers.ppo.masked import masked_sum
from trainers.ppo.recompute import keep_inputs_only, recomputing
from trainers.ppo.rollout import Rollouts
from trainers.ppo.settings import PpoSettings
from trainers.ppo.stopping import StopAskedError, StopSign, Undo
from trainers.ppo.value import ValueModel


class Updater:
    """Owns the optimiser; policy and value model are changed in place."""

    def __init__(
        self,
        settings: PpoSettings,
        policy: Any,
        value: ValueModel,
        sign: StopSign | None = None,
    ) -> None:
        """`sign` may end an update in its middle."""
        self._settings = settings
        self._sign = sign or StopSign()
        self._policy = policy
        self._value = value
        update = settings.update
        self._recomputed: tuple[Any, ...] = ()
        if update.gradient_checkpointing:
            keep_inputs_only(policy, settings.model)
            keep_inputs_only(value.backbone, "the value model")
            self._recomputed = (policy, value)
        self._rates = (update.learning_rate, settings.value.learning_rate or update.learning_rate)
        self._parameters = [
            [p for p in model.parameters() if p.requires_grad] for model in (policy, value)
        ]
        self.optimizer = torch.optim.AdamW(
            [{"params": p, "lr": r} for p, r in zip(self._parameters, self._rates, strict=True)],
            weight_decay=update.weight_decay,
        )

    def update(self, rollouts: Rollouts, iteration: int) -> dict[str, float]:
        """Follow the gradient for `epochs` passes; returns means over the steps.

        Raises RunError naming the iteration for a loss or gradient that is not finite, before its
        step is made; StopAskedError, with weights and optimiser as they were, if a signal came.
        """
        before = None
        if self._sign.watched:
            before = Undo.of((p for part in self._parameters for p in part), self.optimizer)
        try:
            return self._update(rollouts, iteration, undone=before is not None)
        except StopAskedError:
            assert before is not None, "only an update that can be undone is stopped"
            before.back()
            raise

    def _update(self, rollouts: Rollouts, iteration: int, *, undone: bool) -> dict[str, float]:
        settings = self._settings.update
        factor = rate_factor(self._settings, iteration)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        totals: dict[str, float] = defaultdict(float)
        steps, stopped = 0, False
        for epoch in range(settings.epochs):
            random = seeded(self._settings.seed, "minibatches", iteration, epoch)
            order = torch.randperm(len(rollouts.sequences), generator=random)
            for rows in torch.split(order, settings.minibatch_size):
                if undone:
                    self._sign.check()
                figures = self._gradient(rollouts, rows.to(rollouts.logps.device))
                self._require_finite(figures, iteration)
                kl = figures["kl to old policy, per token"]
                stopped = settings.stop_kl is not None and kl > settings.stop_kl
                if stopped:
                    break
                self.optimizer.step()
                steps += 1
                for name, value in figures.items():
                    totals[name] += value
            if stopped:
                break
        self.optimizer.zero_grad(set_to_none=True)
        means = {name: total / max(steps, 1) for name, total in totals.items()}
        return {
            **means,
            "steps": steps,
            "stopped early": float(stopped),
            "learning rate": settings.learning_rate * factor,
        }

    def _gradient(self, rollouts: Rollouts, rows: Tensor) -> dict[str, float]:
        """Compute the minibatch's gradient into the parameters; returns its figures.

        Each micro-batch's sum is divided by the tokens of the whole minibatch, so that the
        gradient is the same however the rows are cut.
        """
        self.optimizer.zero_grad(set_to_none=True)
        tokens = rollouts.sequences.answer_mask[rows].sum()
        totals: dict[str, float] = defaultdict(float)
        size = self._settings.update.micro_batch_size
        for part in by_length(rollouts.sequences, rows, size):
            with recomputing(self._recomputed):
                loss, sums = self.token_sums(rollouts, part)
                (loss / tokens).backward()  # type: ignore[no-untyped-call]
            for name, value in sums.items():
                totals[name] += float(value / tokens)
        most = self._settings.update.max_grad_norm
        for name, parameters in zip(("policy", "value"), self._parameters, strict=True):
            norm = torch.nn.utils.clip_grad_norm_(parameters, most)
            totals[f"{name} gradient norm"] = float(norm)
        return dict(totals)

    def token_sums(self, rollouts: Rollouts, rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of these rows to differentiate, and detached figures for the log.

        All are sums over the answer tokens; divided by a number of tokens they are means.
        """
        settings = self._settings
        part = rollouts.sequences.select(rows)
        mask = part.answer_mask

        def here(values: Tensor) -> Tensor:
            return values[rows, : part.width]

        temperature, bonus = settings.sampling.temperature, settings.update.entropy_bonus
        logits = answer_logits(self._policy, part)
        logps = token_logps(logits, part.answers, temperature)
        old, advantages = here(rollouts.logps), here(rollouts.advantages)
        clip = settings.update.clip
        policy = masked_sum(policy_loss(logps, old, advantages, clip), mask)
        value = masked_sum(
            value_loss(
                self._value(part),
                here(rollouts.values),
                here(rollouts.returns),
                settings.value.clip,
            ),
            mask,
        )
        # The samples are the old policy's, for which this is KL(old, new) and its gradient.
        old_kl = masked_sum(k3(old, logps), mask)
        estimate = ESTIMATORS[settings.kl.loss_estimator]
        reference_kl = masked_sum(estimate(logps, here(rollouts.reference)), mask)
        loss = (
            policy
            + settings.value.loss_weight * value
            + settings.kl.loss_weight * reference_kl
            + settings.kl.old_weight * old_kl
        )
        if bonus:  # over a large vocabulary it costs as much memory as the logits
            loss = loss - bonus * masked_sum(token_entropy(logits, temperature), mask)
        with torch.no_grad():
            ratio = (logps - old).exp()
            parts = {
                "policy loss": policy,
                "value loss": value,
                "loss": loss,
                "kl to old policy, per token": old_kl,
                "clip fraction": masked_sum(clip_fraction(logps, old, advantages, clip), mask),
                "ratio": masked_sum(ratio, mask),
            }
        return loss, {name: value.detach() for name, value in parts.items()}

    @staticmethod
    def _require_finite(figures: Mapping[str, float], iteration: int) -> None:
        for name, value in figures.items():
            if not abs(value) < float("inf"):
                raise RunError(
                    f"iteration {iteration + 1}: the {name} is {value}; "
                    "a lower update.learning_rate or a larger kl.beta may help"
                )


def rate_factor(settings: PpoSettings, iteration: int) -> float:
    """The factor of the learning rates in an iteration, counted from 0."""
    update = settings.update
    warm = min(1.0, (iteration + 1) / (update.warmup_iterations + 1))
    if update.decay == "constant":
        return warm
    return warm * (1 - iteration / settings.iterations)
