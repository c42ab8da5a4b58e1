"""One running server: its models while they load, serve and drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bon_common.daemon_thread import in_daemon_thread
from bon_common.lifecycle import Lifecycle
from reward_server.errors import (
    DrainingError,
    InvalidRequestError,
    ModelNotFoundError,
    NotReadyError,
    ScoreError,
    StartupError,
)
from reward_server.info import EnsembleInfo, ModelInfo
from reward_server.metrics import Metrics, ModelMetrics
from reward_server.model_settings import EnsembleSettings, ModelSettings
from reward_server.scoring.ensemble import EnsembleScorer
from reward_server.scoring.ensemble_folder import members_of
from reward_server.scoring.scorer import Scorer
from reward_server.settings import Settings

logger = logging.getLogger("reward_server.service")

LoadScorer = Callable[[ModelSettings, ModelMetrics], Scorer]


Served = Scorer | EnsembleScorer
"""What answers under a name."""


class Service:
    """Owns what is served. Hands it out from the last model's warm-up until its `lifecycle`
    drains."""

    def __init__(
        self,
        settings: Settings,
        load: LoadScorer,
        on_failure: Callable[[], None] | None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.failure: StartupError | None = None
        """Why a model could not be served; set before `on_failure` is called."""
        self.lifecycle = Lifecycle()
        self._load = load
        self._on_failure = on_failure
        self._on_ready = on_ready
        self._scorers: list[Scorer] = []
        self._threads: dict[str, ThreadPoolExecutor] = {}
        """One for each device: its models take turns instead of competing for memory and cores."""
        self._served: dict[str, Served] = {}
        self._loading: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start loading the models in a thread; returns at once, so `/livez` answers meanwhile."""
        self._loading = asyncio.create_task(self._open(), name="reward-loading")

    async def close(self) -> None:
        """Finish what is queued and let go of the models; do not wait for one still loading."""
        self.lifecycle.drain()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        await asyncio.gather(*(scorer.close() for scorer in self._scorers))
        for thread in self._threads.values():
            thread.shutdown()

    def check_ready(self) -> None:
        """Raises DrainingError or NotReadyError."""
        if self.lifecycle.draining:
            raise DrainingError("the server is shutting down")
        if not self._served:
            raise NotReadyError("the model is being loaded", retry_after_s=5)

    def scorer(self, name: str | None = None) -> Served:
        """What is served under a name; None is for a server that has one.

        Raises DrainingError, NotReadyError, ModelNotFoundError, and InvalidRequestError where a
        name is needed.
        """
        self.check_ready()
        names = ", ".join(map(repr, self._served))
        if name is None:
            if len(self._served) > 1:
                raise InvalidRequestError(f"say which model: {names}", param="model")
            return next(iter(self._served.values()))
        if name not in self._served:
            raise ModelNotFoundError(
                f"the model {name!r} is not served here; served: {names}", param="model"
            )
        return self._served[name]

    def infos(self) -> list[ModelInfo | EnsembleInfo]:
        """All that is served. Raises DrainingError or NotReadyError."""
        self.check_ready()
        return [served.info for served in self._served.values()]

    @contextmanager
    def request(self) -> Iterator[None]:
        """A scoring request, which must be finished before the process may end."""
        self.lifecycle.enter()
        self.metrics.under_way.set(self.lifecycle.in_flight)
        try:
            yield
        finally:
            self.lifecycle.leave()
            self.metrics.under_way.set(self.lifecycle.in_flight)

    async def _open(self) -> None:
        try:
            served = await self._load_all()
        except StartupError as error:
            self._fail(error)
        except ScoreError as error:
            self._fail(StartupError("model", f"the warm-up failed: {error.message}"))
        except Exception as error:  # whatever a checkpoint's loading raises ends the process
            logger.error("the model cannot be loaded", exc_info=error)
            # No client has connected yet, so the message cannot quote a client's text.
            said = " ".join(str(error).split())
            reason = f"{type(error).__name__} while loading" + (f": {said}" if said else "")
            self._fail(StartupError("model", reason))
        else:
            if self._on_ready is not None:
                self._on_ready()
            self._served = served
            self.lifecycle.serve()

    async def _load_all(self) -> dict[str, Served]:
        """Load and warm up one model after the other, then join ensembles of them."""
        served: dict[str, Served] = {}
        settings = self.settings.served
        for name, one in settings.items():
            if isinstance(one, ModelSettings):
                served[name] = await self._load_folder(name, one)
        for name, one in settings.items():
            if isinstance(one, EnsembleSettings):
                served[name] = EnsembleScorer(name, _single(name, one, served), one)
        return {name: served[name] for name in settings}

    async def _load_folder(self, name: str, settings: ModelSettings) -> Served:
        """A model, or all members of an ensemble's folder, which answer as one."""
        found = members_of(settings)
        if found is None:
            return await self._load_one(name, settings)
        members, joined = found
        scorers = {
            member: await self._load_one(one.model_name, one) for member, one in members.items()
        }
        return EnsembleScorer(name, scorers, joined)

    async def _load_one(self, name: str, settings: ModelSettings) -> Scorer:
        metrics = self.metrics.of(name)
        scorer = await in_daemon_thread(lambda: self._load(settings, metrics), "reward-loading")
        device = scorer.info.device
        if device not in self._threads:
            self._threads[device] = ThreadPoolExecutor(1, thread_name_prefix=f"reward-{device}")
        await scorer.start(self._threads[device])
        self._scorers.append(scorer)
        await scorer.warm_up()
        logger.info("ready: %s on %s", name, device)
        return scorer

    def _fail(self, error: StartupError) -> None:
        self.failure = error
        if self._on_failure is not None:
            self._on_failure()


def _single(
    name: str, settings: EnsembleSettings, served: Mapping[str, Served]
) -> dict[str, Scorer]:
    """The members of an ensemble, each a model; StartupError for one that is an ensemble."""
    found: dict[str, Scorer] = {}
    for member in settings.members:
        scorer = served[member]
        if isinstance(scorer, EnsembleScorer):
            raise StartupError(f"models.{name}.members", f"{member!r} is an ensemble itself")
        found[member] = scorer
    return found
