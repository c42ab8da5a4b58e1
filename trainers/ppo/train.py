"""`bon-train ppo`: the loop over iterations, with what comes before and after it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import torch

from trainers.base.card import write_card
from trainers.base.context import RunContext
from trainers.base.data import data_hash
from trainers.base.outputs import claim_folder, require_place
from trainers.base.progress import Advance, progress
from trainers.base.report import write_report
from trainers.base.seeds import mixed_seed
from trainers.policy.samples import before_and_after
from trainers.ppo.alarms import alarms
from trainers.ppo.beta import adapted_beta
from trainers.ppo.checkpoint import deciding_settings, load_checkpoint, save_checkpoint
from trainers.ppo.dry_run import show_rollout
from trainers.ppo.metrics import drift_metrics, evaluate_policy, rollout_metrics
from trainers.ppo.models import PpoParts, build
from trainers.ppo.prompts import prompts_of
from trainers.ppo.settings import PpoSettings
from trainers.ppo.stopping import StopAskedError
from trainers.runtime.checkpoints import Checkpoints, stopped
from trainers.runtime.interrupts import held
from trainers.runtime.log import RunLog
from trainers.runtime.memory import memory_line, memory_part
from trainers.runtime.saving import save

SHOWN = ("reward", "gold", "kl to reference", "kl to old policy", "entropy", "length", "eos rate")


def run(settings: PpoSettings, context: RunContext) -> Mapping[str, float]:
    """`bon-train ppo`. Returns the figures that the model card shows."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    checkpoints = Checkpoints(settings.output / "checkpoints", settings.keep_checkpoints)
    if not context.dry_run:
        require_place(settings.output)
        inputs: list[str | Path] = [settings.model]
        if isinstance(settings.reward, Path):
            inputs.append(settings.reward)
        claim_folder(settings.output, context, inputs=inputs, newest=checkpoints.newest())
    parts = build(settings)
    context.show(
        f"prompts: {len(parts.prompts.prompts)}, dropped as repeated: {parts.prompts.repeated}, "
        f"as too long: {parts.prompts.too_long}"
    )
    parts.bad.report(context.show)
    if context.dry_run:
        show_rollout(parts, settings, context)
        return {}
    context.show(memory_line(settings))
    start = checkpoints.start(resume=context.resume, settings=deciding_settings(settings))
    done, beta = 0, settings.kl.beta
    before = _evaluation(parts, settings, "before")
    if context.resume:
        context.show(f"no checkpoint in {checkpoints.folder}" if start is None else f"from {start}")
    if start is not None:
        done = checkpoints.steps()[-1]
        beta = load_checkpoint(start, parts)
    log = RunLog(settings.output, "iteration", done)
    with (
        # The first to enter is the last to leave: the signal takes effect when all is closed.
        held(second_at_once=True) as signals,
        closing(log),
        progress("iterations", settings.iterations, done) as advance,
    ):
        parts.sign.watch(signals)
        _loop(settings, context, parts, checkpoints, log, done, beta, advance, signals)
        if signals:
            context.show(stopped(checkpoints.newest()))
    figures = {
        **before,
        **_evaluation(parts, settings, "after"),
        "iterations": len(log.history),
        "prompts": len(parts.prompts.prompts),
        **parts.bad.figures(),
    }
    save(parts.policy, parts.tokenizer, settings.output)
    files = {settings.prompts.name: data_hash(settings.prompts)}
    title = "Policy, tuned with PPO"
    write_card(settings.output, title, context.command, files, settings, figures)
    held_out = parts.eval_prompts.prompts if parts.eval_prompts is not None else []
    samples = before_and_after(
        settings.model, settings.revision, settings.output, [one.asked for one in held_out],
        seed=settings.seed, max_new_tokens=settings.sampling.max_new_tokens,
    )  # fmt: skip
    parts_of_page = [memory_part(settings)]
    write_report(settings.output, title, figures, parts=parts_of_page, samples=samples)
    return figures


def _loop(
    settings: PpoSettings,
    context: RunContext,
    parts: PpoParts,
    checkpoints: Checkpoints,
    log: RunLog,
    done: int,
    beta: float,
    advance: Advance,
    signals: Sequence[int],
) -> None:
    """All iterations from `done` on, logged and with checkpoints; a signal ends it early, with the
    state in which the iteration began."""
    known: set[str] = set()
    began = time.monotonic()
    for iteration in range(done, settings.iterations):
        try:
            figures, beta = iterate(parts, settings, iteration, beta)
        except StopAskedError:
            if iteration > 0 and iteration not in checkpoints.steps():
                save_checkpoint(checkpoints, settings, parts, iteration, beta)
            break
        advance()
        found = alarms([*log.history, figures], settings.alarms)
        log.write(iteration + 1, {**figures, "alarms": list(found)})
        each = (time.monotonic() - began) / (iteration + 1 - done)
        left = each * (settings.iterations - iteration - 1)
        context.show(_line(iteration + 1, settings.iterations, figures, left))
        for name, text in found.items():
            if name not in known:
                context.show(f"alarm, {name}: {text}")
        known = set(found)
        last = iteration + 1 == settings.iterations or (bool(found) and settings.alarms.stop)
        stop = last or bool(signals)
        if stop or (iteration + 1) % settings.checkpoint_every == 0:
            save_checkpoint(checkpoints, settings, parts, iteration + 1, beta)
        if stop:
            break


def iterate(
    parts: PpoParts, settings: PpoSettings, iteration: int, beta: float
) -> tuple[dict[str, float], float]:
    """One iteration, counted from 0: rollouts, update, the next beta. Returns figures and beta."""
    began = time.monotonic()
    prompts = [
        parts.prompts.prompts[index]
        for index in prompts_of(
            iteration, settings.prompts_per_iteration, len(parts.prompts.prompts), settings.seed
        )
        for _ in range(settings.samples_per_prompt)
    ]
    seed = mixed_seed(settings.seed, "answers", iteration)
    rollouts = parts.collector.collect(prompts, seed, beta)
    measured = time.monotonic()
    figures = rollout_metrics(rollouts)
    figures |= parts.updater.update(rollouts, iteration)
    figures |= drift_metrics(rollouts, parts.collector.policy_logps(rollouts.sequences))
    figures |= {
        "beta": beta,
        "seconds of rollouts": measured - began,
        "seconds of update": time.monotonic() - measured,
    }
    kl = figures["kl to reference"]
    return figures, adapted_beta(beta, kl, len(prompts), settings.kl.adaptive)


def _evaluation(parts: PpoParts, settings: PpoSettings, when: str) -> dict[str, float]:
    if parts.eval_prompts is None:
        return {}
    samples = settings.eval_samples
    figures = evaluate_policy(parts.collector, parts.eval_prompts, samples, settings.seed)
    return {f"{name}, {when}": value for name, value in figures.items()}


def _line(iteration: int, iterations: int, figures: Mapping[str, float], left: float) -> str:
    shown = ", ".join(f"{name} {figures[name]:.3g}" for name in SHOWN if name in figures)
    return f"iteration {iteration}/{iterations}: {shown} ({left:.0f} s left)"
