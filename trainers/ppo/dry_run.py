"""--dry-run: one answer of the untrained policy with its score and, token by token, its numbers."""

from __future__ import annotations

from trainers.base.context import RunContext
from trainers.base.seeds import mixed_seed
from trainers.ppo.models import PpoParts
from trainers.ppo.settings import PpoSettings


def show_rollout(parts: PpoParts, settings: PpoSettings, context: RunContext) -> None:
    """Sample one answer and show prompt, answer, score, and a line for each trained token.

    Only the answer's tokens are trained; a prompt's have no line.
    """
    prompt = parts.prompts.prompts[0]
    seed = mixed_seed(settings.seed, "dry run")
    rollouts = parts.collector.collect([prompt], seed, settings.kl.beta)
    answers = rollouts.answers
    ending = "cut at max_new_tokens" if bool(answers.truncated[0]) else "ended by itself"
    context.show(f"prompt: {parts.tokenizer.decode(prompt.ids)}")
    context.show(f"answer: {answers.texts[0]} ({ending})")
    context.show(f"score: {float(answers.scores[0]):.4g}")
    context.show("token | log-prob | reference | value | return | advantage")
    columns = (rollouts.logps, rollouts.reference, rollouts.values, rollouts.returns)
    for place, token in enumerate(answers.sequences.answers[0].tolist()):
        numbers = [f"{float(c[0, place]):.3f}" for c in (*columns, rollouts.advantages)]
        context.show(" | ".join([repr(parts.tokenizer.decode([token])), *numbers]))
