"""OpenRLHF's ``/get_reward``: rendered conversations, for `--reward.remote_url`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from reward_server.errors import InvalidRequestError
from reward_server.http.dialects.dialect import SOME, Answering, Translation, need_some
from reward_server.scoring.texts import Texts


class GetRewardRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of OpenRLHF's `POST /get_reward`."""

    query: Annotated[list[str], SOME]
    """Prompt and answer, rendered. They get no special tokens."""
    prompts: list[str] | None = None
    """The beginning of each query. The server computes queries of one prompt together, and cuts the
    prompt with `on_overflow: truncate_prompt`."""
    labels: list[Any] | None = None
    """Right answers. Ignored: a reward model does not see them."""

    @property
    def model(self) -> None:
        """The URL names it."""
        return None

    def translated(self) -> Translation:
        need_some("query", self.query)
        prompts = self.prompts or [""] * len(self.query)
        if len(prompts) != len(self.query):
            raise InvalidRequestError("prompts and query differ in length", param="prompts")
        groups: dict[str, list[int]] = {}
        for number, (prompt, query) in enumerate(zip(prompts, self.query, strict=True)):
            # A tokenizer that does not give its texts back unchanged decodes to another beginning.
            groups.setdefault(prompt if query.startswith(prompt) else "", []).append(number)
        numbers = list(groups.values())
        items = [
            Texts([self.query[number] for number in group], prompt, special_tokens=False)
            for prompt, group in groups.items()
        ]

        def where(item: int, place: int | None) -> str:
            return "prompts" if place is None else f"query[{numbers[item][place]}]"

        def answer(answering: Answering) -> GetRewardResponse:
            rewards = [0.0] * len(self.query)
            for item, group in enumerate(numbers):
                for place, number in enumerate(group):
                    rewards[number] = answering.reward(item, place)
            return GetRewardResponse(rewards, rewards)

        return Translation(items, where, answer)


class GetRewardResponse(msgspec.Struct, frozen=True):
    rewards: list[float]
    scores: list[float]
    """The same. OpenRLHF filters prompts by them."""
    extra_logs: dict[str, list[float]] = {}
