"""The reward model behind this project's own reward server: all completions in one request."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from bon_gateway.backends.http.client import encode, finite
from bon_gateway.backends.http.faults import Fault, UpstreamError, malformed, reward_error
from bon_gateway.backends.http.names import LookUp, look_up
from bon_gateway.backends.http.settings import UpstreamSettings
from bon_gateway.backends.pool.backend import Pooled
from bon_gateway.backends.pool.replica import Replica
from bon_gateway.backends.reward.labels import by_answer, lacking
from bon_gateway.backends.reward.local import WARM_UP
from bon_gateway.backends.settings import FindKey, RewardSettings
from bon_gateway.types import ForTextAlone, Message, NonTextParts, RewardRequest, Scores

logger = logging.getLogger(__name__)

MOST_LABELS = 256
REMEMBERED = 4096
"""Number of announced conversations whose replica is remembered."""


class RewardServerSettings(UpstreamSettings, RewardSettings):
    type: Literal["reward_server"]
    non_text_parts: ForTextAlone = "refuse"
    """What to do with images, audio, files and other parts of a conversation that are not text,
    which the reward model cannot read. ``refuse`` answers 400 before anything is drawn.
    ``leave_out`` scores the answers without these parts, ``placeholder`` with words such as
    ``[image]`` instead."""
    announce: bool = False
    """Whether to tell the reward server of a conversation when its candidates begin to be drawn, so
    that it computes the prompt meanwhile. For long prompts and a reward server that is idle while
    engines generate."""

    send_metadata: bool = False
    """Whether to send the request's ``metadata`` too. Set it if the server is another gateway whose
    verifiers find the expected answer there. A client's metadata then leaves for that server.
    Rewards in ``cache`` then count for equal metadata only."""

    may_have_labels: ClassVar[bool] = True

    @property
    def reads_metadata(self) -> bool:
        return self.send_metadata

    def build(self, key: str | None) -> RewardServerBackend:
        return RewardServerBackend(self, key)

    def build_reading(self, keys: FindKey, labels: Sequence[str]) -> RewardServerBackend:
        return RewardServerBackend(self, keys(self.key_variable), labels=labels)


class RewardServerBackend(Pooled):
    """RewardBackend over ``POST /v1/score``. A score that fails is not asked for again here.

    An announced conversation is scored by the replica to which it was announced, if that is up.
    """

    compares = False

    def __init__(
        self,
        settings: RewardServerSettings,
        api_key: str | None,
        *,
        labels: Sequence[str] = (),
        look_up: LookUp = look_up,
    ) -> None:
        """A replica whose model lacks one of ``labels`` does not come up."""
        self._labels = labels
        self._send_metadata = settings.send_metadata
        self._model = settings.model
        self.announces = settings.announce
        self.non_text_parts: NonTextParts = settings.non_text_parts
        self._homes: OrderedDict[bytes, Replica] = OrderedDict()
        self._refused = False
        super().__init__(settings, api_key, look_up, call_path="/v1/score", health_path="/readyz")

    async def announce(self, request: RewardRequest) -> None:
        body = _item(request)
        if self._model is not None:
            body["model"] = self._model
        try:
            # It is no candidate, so it does not count as load and no replica is blamed for it.
            with self._pool.lease(0) as lease:
                replica = lease.replica
                self._remember(_key(request), replica)
                path = replica.call.path.removesuffix("/score") + "/prefix"
                await replica.client.post(
                    replica.call.with_path(path), encode(body), request.headers()
                )
        except UpstreamError as error:
            if error.kind is not Fault.OVERLOADED and not self._refused:
                self._refused = True
                logger.warning("Prompts cannot be announced (said once): %s", error.message)

    def _remember(self, key: bytes, replica: Replica) -> None:
        self._homes[key] = replica
        if len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        if not completions:
            return Scores((), 0)
        try:
            home = self._homes.get(_key(request)) if self._homes else None
            with self._pool.lease(len(completions), request.request_id, prefer=home) as lease:
                try:
                    scores = await self._ask(lease.replica, request, completions)
                except UpstreamError as error:
                    lease.done(error)
                    raise
                lease.done()
                return scores
        except UpstreamError as error:
            raise reward_error(error) from error

    async def _ask(
        self, replica: Replica, request: RewardRequest, completions: Sequence[Message]
    ) -> Scores:
        item = _item(request) | {"completions": completions}
        if self._send_metadata and request.metadata:
            item["metadata"] = request.metadata
        body: dict[str, Any] = {"items": [item]}
        if request.partial:
            body["partial"] = True
        if self._model is not None:
            body["model"] = self._model
        answer = await replica.client.post(replica.call, encode(body), request.headers())
        return _scores(answer, len(completions))

    async def _warm_up(self, replica: Replica) -> None:
        request, answer = WARM_UP
        scores = await self._ask(replica, request, [answer])
        [known] = scores.labels or [{}]
        # Another gateway may leave out a member for now.
        wrong = lacking(self._labels, {*known, *scores.left_out} if scores.left_out else known)
        if wrong is not None:
            raise malformed(f"its model {wrong}")


def _item(request: RewardRequest) -> dict[str, Any]:
    item: dict[str, Any] = {"messages": request.messages}
    if request.tools:
        item["tools"] = request.tools
    return item


def _key(request: RewardRequest) -> bytes:
    return hashlib.blake2b(encode(_item(request)), digest_size=16).digest()


def _scores(answer: dict[str, Any], count: int) -> Scores:
    """Raises UpstreamError."""
    results = answer.get("results")
    if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
        raise malformed("its answer has no results")
    rewards, tokens = results[0].get("rewards"), results[0].get("tokens")
    if not isinstance(rewards, list) or len(rewards) != count:
        raise malformed(f"it did not give {count} rewards")
    if not isinstance(tokens, list) or [n for n in tokens if not isinstance(n, int)]:
        raise malformed("its answer has no token counts")
    cut = results[0].get("truncated")
    truncated = cut if isinstance(cut, list) and len(cut) == count else None
    read = tokens if len(tokens) == count else None
    return Scores(
        tuple([finite(reward) for reward in rewards]),
        sum(tokens),
        labels=by_answer(_labels(results[0].get("labels"), count)),
        read=read,
        truncated=truncated,
        left_out=_left_out(results[0].get("left_out")),
    )


def _left_out(given: Any) -> Sequence[str]:
    """Members that an ensemble of another gateway did without. Raises UpstreamError."""
    found = given or []
    named = isinstance(found, list) and all(isinstance(one, str) for one in found)
    if not named or len(found) > MOST_LABELS:
        raise malformed("its answer's left_out cannot be read")
    return found


def _labels(given: Any, count: int) -> dict[str, list[float]]:
    """Each label's numbers. Raises UpstreamError."""
    if given is None:
        return {}
    if not isinstance(given, dict) or len(given) > MOST_LABELS:
        raise malformed("its answer's labels cannot be read")
    for numbers in given.values():
        if not isinstance(numbers, list) or len(numbers) != count:
            raise malformed(f"it did not give {count} numbers for each label")
    return {label: [finite(number) for number in numbers] for label, numbers in given.items()}
