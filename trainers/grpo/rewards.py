"""The reward as TRL's reward function, rendered and scored as in the reward server."""

from collections.abc import Sequence
from typing import Any

from trainers.base.data import Conversation
from trainers.base.thinking import ThinkingMarks, drawn_message
from trainers.rewards.answers import AnswerScorer


class RewardFunction:
    """Called by TRL with the places of some prompts and the text of one answer to each."""

    __name__ = "reward_model"
    """How TRL names the function in its logs."""

    def __init__(
        self,
        scorer: AnswerScorer,
        asked: Sequence[Conversation],
        *,
        ends: frozenset[int],
        no_eos_reward: float | None,
        thinking: ThinkingMarks | None = None,
    ) -> None:
        """`ends` end an answer; one that was cut gets `no_eos_reward`, if that is given. What the
        policy was `thinking` is not judged."""
        self._thinking = thinking
        self._scorer = scorer
        self._asked = asked
        self._ends = ends
        self._no_eos_reward = no_eos_reward

    def __call__(
        self,
        prompts: list[str],
        completions: list[str],
        completion_ids: list[list[int]],
        **rest: Any,
    ) -> list[float | None]:
        """The reward of each completion, in order. Raises RunError for one that is not finite.

        TRL would leave out a reward that is None; there is none here.
        """
        asked = [self._asked[int(place)] for place in prompts]
        both = zip(completions, asked, strict=True)
        rewards = self._scorer.score_answers(
            asked, [drawn_message(text, self._thinking, one.inputs.tools) for text, one in both]
        )
        if self._no_eos_reward is None:
            return list(rewards)
        return [
            reward if ids and ids[-1] in self._ends else self._no_eos_reward
            for reward, ids in zip(rewards, completion_ids, strict=True)
        ]
