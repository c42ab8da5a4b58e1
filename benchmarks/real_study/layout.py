"""Where everything of a study lies, and how much of everything there is."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = "models/smollm2-135m-instruct"
"""What `make real-model` makes, which every policy and reward model of the study starts from."""
TUNED = ("dpo", "ppo", "grpo")
CURVE = (1, 2, 4, 8, 16, 32)
LARGE = "sft-pool"
"""The arm whose pool most is computed from."""
POOL_TEMPERATURE = 0.8
"""Of the candidates that a reward model chooses among, in training too. At 1 a sample is far worse
than greedy decoding, which eats what choosing gains."""
WEAK = "weak"
"""The reward model of few labels, as pools name it."""
SHARES = (0.25, 0.5, 0.75)
"""Of an answer's tokens: what the reward of its beginning is computed from."""
PAGE = "docs/real-model.md"
PICTURES = "docs/real-model"
KEPT = "docs/real-study"
"""Figures and pools that the repository keeps."""


CHECKPOINTS = (4, 8, 16)
"""Tokens after which the reward of an answer's beginning is computed, for strategies that prune."""


def checkpoint_name(tokens: int) -> str:
    """Name of that reward in rescored lines."""
    return f"after {tokens}"


def partial_name(share: float) -> str:
    """Of the reward of an answer's beginning, as pools name it."""
    return f"first {share:g}"


@dataclass(frozen=True)
class Arm:
    """One way to draw answers to all held-out prompts through the gateway."""

    name: str
    policy: str
    temperature: float
    n: int = 1
    """Above 1 it is best-of-n, and all n candidates are the prompt's pool."""

    @property
    def adapted(self) -> bool:
        """Whether the policy is served by the engine of the SFT model."""
        return self.policy != "base"


@dataclass(frozen=True)
class Sizes:
    """The whole study, or the short form in which no figure counts."""

    train: int = 160
    """Prompts of one task to draw answers to."""
    held_out: int = 20
    """Prompts of one task to measure on."""
    examples: int = 40
    weak_prompts: int = 60
    """Labelled prompts of the weak reward model."""
    pool: int = 32
    small_pool: int = 4
    """Candidates of a tuned policy."""
    alone: int = 40
    """Prompts asked one after another, for the latency."""
    slices: int = 2
    """Steps that draw the large pool."""
    pairs: int = 420
    """Most pairs of a published file that are scored."""
    questions: int = 200
    """Of GSM8K, each with four recorded answers."""
    max_tokens: int = 64

    def arms(self) -> tuple[Arm, ...]:
        return (
            Arm("base-greedy", "base", 0.0),
            Arm("sft-greedy", "sft", 0.0),
            Arm("sft-t0.7", "sft", 0.7),
            Arm("sft-t1", "sft", 1.0),
            Arm(LARGE, "sft", POOL_TEMPERATURE, self.pool),
            *(
                arm
                for name in TUNED
                for arm in (
                    Arm(f"{name}-greedy", name, 0.0),
                    Arm(f"{name}-t0.7", name, 0.7),
                    Arm(f"{name}-pool", name, POOL_TEMPERATURE, self.small_pool),
                )
            ),
        )

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms() if arm.name == name)


WHOLE = Sizes()
SMOKE = Sizes(
    train=2, held_out=1, examples=2, weak_prompts=6, pool=4, small_pool=2,
    alone=2, pairs=8, questions=4, max_tokens=16,
)  # fmt: skip


def step_parser(description: str | None) -> argparse.ArgumentParser:
    """Of a module that is a step: it is told the folder, and whether this is the short form."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true")
    return parser


@dataclass(frozen=True)
class Layout:
    """Paths below the folder of a study; relative to the repository, so that hashes of commands
    are the same everywhere."""

    folder: Path
    smoke: bool = False

    @property
    def sizes(self) -> Sizes:
        return SMOKE if self.smoke else WHOLE

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Layout:
        """As `step_parser` read it."""
        return cls(arguments.folder, arguments.smoke)

    @property
    def tasks(self) -> Path:
        return self.folder / "tasks"

    @property
    def held_out(self) -> Path:
        return self.tasks / "held-out.jsonl"

    def trained(self, name: str) -> Path:
        """The output of a trainer."""
        return self.folder / name

    def adapter(self, name: str) -> Path:
        return self.folder / name / "adapter"

    def served(self, name: str) -> Path:
        return self.folder / "served" / name

    @property
    def logs(self) -> Path:
        """The candidate log of all arms."""
        return self.folder / "candidate-log"

    def pool(self, arm: str) -> Path:
        return self.folder / "pools" / f"{arm}.jsonl.gz"

    @property
    def rescored(self) -> Path:
        """Further rewards of the large pool."""
        return self.folder / "rescored.jsonl"

    @property
    def times(self) -> Path:
        return self.folder / "times.jsonl"

    @property
    def external(self) -> Path:
        return self.folder / "external.json"

    @property
    def kept(self) -> Path:
        """Figures and pools for the repository; in the short form they stay in its own folder."""
        return self.folder / "kept" if self.smoke else Path(KEPT)

    @property
    def figures(self) -> Path:
        return self.kept / "figures.json"

    @property
    def page(self) -> Path:
        return self.folder / "page.md" if self.smoke else Path(PAGE)

    @property
    def pictures(self) -> Path:
        return self.folder / "page" if self.smoke else Path(PICTURES)
