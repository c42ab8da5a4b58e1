"""The common part of all backends over a pool of replicas."""

from __future__ import annotations

from abc import ABC, abstractmethod

from bon_gateway.backends.http.client import HttpClient
from bon_gateway.backends.http.names import Address, LookUp, only
from bon_gateway.backends.http.settings import UpstreamSettings, client_context
from bon_gateway.backends.pool.pool import ReplicaPool
from bon_gateway.backends.pool.prober import Prober
from bon_gateway.backends.pool.replica import Replica
from bon_gateway.backends.pool.trial import UpstreamTrial


class Pooled(ABC):
    """The methods of a backend that its pool answers."""

    def __init__(
        self,
        settings: UpstreamSettings,
        api_key: str | None,
        look_up: LookUp,
        *,
        call_path: str,
        health_path: str,
    ) -> None:
        """``api_key`` goes to the replicas and nowhere else; ``look_up`` finds them."""
        # One for all replicas, because it holds every certificate that the system trusts.
        tls = client_context(settings)

        def build(url: str, address: Address | None) -> Replica:
            client = HttpClient(
                api_key=api_key,
                connect_timeout_s=settings.connect_timeout_s,
                timeout_s=settings.timeout_s,
                tls=tls,
                look_up=look_up if address is None else only(address),
                max_answer_bytes=settings.max_answer_bytes,
            )
            return Replica(
                url,
                client,
                call_path=call_path,
                health_path=health_path,
                failures_to_eject=settings.failures_to_eject,
                address=address,
            )

        followed = look_up if settings.resolve == "addresses" else None
        self._trial = UpstreamTrial(settings.urls, build, self._warm_up, followed)
        self._pool = ReplicaPool(
            settings.urls,
            build,
            Prober(self._warm_up, settings.probe_interval_s),
            rest_s=settings.probe_interval_s,
            look_up=followed,
            resolve_interval_s=settings.resolve_interval_s,
        )

    @abstractmethod
    async def _warm_up(self, replica: Replica) -> None:
        """Make a first real call. Raises UpstreamError if the replica is not ready."""

    async def trial(self, model: str | None) -> dict[str, str | None]:
        """What is wrong with each replica, by its name. Not for a pool that runs."""
        return await self._trial.run(model)

    async def start(self) -> None:
        await self._pool.start()

    def ready(self) -> bool:
        return self._pool.ready()

    def warming(self) -> bool:
        return self._pool.warming()

    def health(self) -> dict[str, str]:
        return self._pool.states()

    def troubles(self) -> dict[str, str]:
        return self._pool.troubles()

    async def close(self) -> None:
        await self._pool.close()
