"""The reward model as TRL's reward function, rendered and scored as the reward server does it."""

from typing import Any

from trainers.base.data import Message
from trainers.rewards.scorer import RewardScorer


class RewardFunction:
    """Called by TRL with a list of prompts and one completion to each."""

    __name__ = "reward_model"
    """How TRL names the function in its logs."""

    def __init__(
        self, scorer: RewardScorer, *, ends: frozenset[int], no_eos_reward: float | None
    ) -> None:
        """`ends` end an answer; one that was cut gets `no_eos_reward`, if that is given."""
        self._scorer = scorer
        self._ends = ends
        self._no_eos_reward = no_eos_reward

    def __call__(
        self,
        prompts: list[list[Message]],
        completions: list[list[Message]],
        completion_ids: list[list[int]],
        **rest: Any,
    ) -> list[float | None]:
        """The reward of each completion, in order. Raises RunError for one that is not finite.

        TRL would leave out a reward that is None; there is none here.
        """
        rewards = self._scorer.score([p + c for p, c in zip(prompts, completions, strict=True)])
        if self._no_eos_reward is None:
            return list(rewards)
        return [
            reward if ids and ids[-1] in self._ends else self._no_eos_reward
            for reward, ids in zip(rewards, completion_ids, strict=True)
        ]
