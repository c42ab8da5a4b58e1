"""Engines that serve what `bon-train` has tuned and exported, and what transformers says of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.engines import (
    TOOLS,
    Generator,
    Upstream,
    start_reward_server,
    start_vllm,
)
from tests.integration.processes import Processes
from tests.integration.prompts import PROMPTS, ask
from tests.integration.reference import Answer, PolicyReference
from tests.integration.trained import Trainings
from tests.vllm_forks import VllmForks

POLICIES = ("dpo", "ppo")
LIMIT = 48
"""Tokens of an answer."""
Conversation = list[dict[str, Any]]


@dataclass(frozen=True)
class Policy:
    engine: Generator
    run: Path
    """What its trainer left."""
    answers: list[Answer]
    """Of transformers, to each prompt."""


@dataclass(frozen=True)
class Served:
    policies: dict[str, Policy]
    pooling: Upstream
    reward_server: Upstream
    reward: Path
    prompts: list[Conversation]
    answered: list[Conversation]


@contextmanager
def serve(processes: Processes, forks: VllmForks, folder: Path) -> Iterator[Served]:
    """Train, export and serve. Each engine boots as soon as its model is there, beside the next
    training."""
    trainings = Trainings(folder)
    with ExitStack() as closing:

        def start(kind: type[Any], name: str, model: Path, *flags: str) -> Any:
            found = start_vllm(processes, forks, f"vllm-{name}", str(model), flags)
            closing.callback(found[0].stop)
            return kind(*found, "/health")

        folders = {}
        engines = {}
        for name, train in (("dpo", trainings.dpo), ("ppo", trainings.ppo)):
            folders[name] = train()
            engines[name] = start(Generator, name, folders[name], *TOOLS)
        reward = trainings.reward()
        pooling = start(Upstream, "trained-reward", reward, "--runner", "pooling")
        reward_server = start_reward_server(processes, reward)
        closing.callback(reward_server.process.stop)
        prompts = [ask(prompt) for prompt in (*PROMPTS, "Bär 熊 🐻")]
        prompts += [record["prompt"] for record in trainings.world.held_out_prompts]
        answered = [
            [*pair["prompt"], *pair[side]]
            for pair in trainings.world.held_out_pairs
            for side in ("chosen", "rejected")
        ]
        policies = {
            name: Policy(engines[name], folder / name, greedy(folders[name], prompts))
            for name in POLICIES
        }
        for upstream in (*engines.values(), pooling, reward_server):
            upstream.wait()
        yield Served(policies, pooling, reward_server, reward, prompts, answered)


def greedy(folder: Path, prompts: list[Conversation]) -> list[Answer]:
    reference = PolicyReference(folder)
    return [reference.greedy(prompt, LIMIT) for prompt in prompts]
