"""Prometheus metrics of one server, in a registry of its own."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
TOKENS = (64, 256, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Metrics:
    """What concerns the whole server; `of` has what concerns one model."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "reward_server_requests", "HTTP requests.", ["path", "status"], registry=self.registry
        )
        self.errors = Counter(
            "reward_server_errors",
            "Failed requests by error code.",
            ["code"],
            registry=self.registry,
        )
        self.under_way = Gauge(
            "reward_server_requests_under_way",
            "Scoring requests being answered.",
            registry=self.registry,
        )
        self._counters = {name: self._counter(name, text) for name, text in COUNTERS.items()}
        self._gauges = {name: self._gauge(name, text) for name, text in GAUGES.items()}
        self._histograms = {
            name: Histogram(
                f"reward_server_{name}", text, ["model"], buckets=buckets, registry=self.registry
            )
            for name, (text, buckets) in HISTOGRAMS.items()
        }

    def of(self, model: str) -> ModelMetrics:
        """The instruments of one model, by its served name."""
        return ModelMetrics(
            {name: counter.labels(model) for name, counter in self._counters.items()},
            {name: gauge.labels(model) for name, gauge in self._gauges.items()},
            {name: histogram.labels(model) for name, histogram in self._histograms.items()},
        )

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"reward_server_{name}", text, ["model"], registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"reward_server_{name}", text, ["model"], registry=self.registry)


COUNTERS = {
    "sequences": "Sequences scored.",
    "tokens": "Tokens computed, no padding.",
    "tokens_asked": "Tokens of all candidates that were scored, each with its prompt.",
    "tokens_reused": "Tokens of prompts that an earlier batch had computed.",
    "prefix_lookups": "Prompts of scored candidates that were looked for among the kept ones.",
    "prefix_hits": "Prompts of those that were found, or at least their beginnings.",
    "forwards": "Calls of the network.",
    "out_of_memory": "Batches that did not fit the device.",
}
GAUGES = {
    "queue_sequences": "Waiting sequences.",
    "queue_tokens": "Tokens to be computed for what waits.",
    "batch_budget_tokens": "Tokens allowed in one forward; halved when memory ran out.",
    "prefix_bytes": "Memory that kept prompts take.",
    "prefix_entries": "Prompts that are kept.",
}
HISTOGRAMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "batch_sequences": ("Sequences in a batch.", SEQUENCES),
    "batch_tokens": ("Tokens computed in a batch.", TOKENS),
    "batch_fill_ratio": ("Share of a batch's computed positions that held a token.", SHARES),
    "queue_seconds": ("Wait of a request for the model.", SECONDS),
    "model_seconds": ("Duration of a batch.", SECONDS),
}


class ModelMetrics:
    """The instruments of one model."""

    def __init__(
        self,
        counters: Mapping[str, Counter],
        gauges: Mapping[str, Gauge],
        histograms: Mapping[str, Histogram],
    ) -> None:
        self.sequences = counters["sequences"]
        self.tokens = counters["tokens"]
        self.tokens_asked = counters["tokens_asked"]
        self.tokens_reused = counters["tokens_reused"]
        self.prefix_lookups = counters["prefix_lookups"]
        self.prefix_hits = counters["prefix_hits"]
        self.forwards = counters["forwards"]
        self.out_of_memory = counters["out_of_memory"]
        self.queue_sequences = gauges["queue_sequences"]
        self.queue_tokens = gauges["queue_tokens"]
        self.batch_budget = gauges["batch_budget_tokens"]
        self.prefix_bytes = gauges["prefix_bytes"]
        self.prefix_entries = gauges["prefix_entries"]
        self.batch_sequences = histograms["batch_sequences"]
        self.batch_tokens = histograms["batch_tokens"]
        self.batch_fill = histograms["batch_fill_ratio"]
        self.queue_seconds = histograms["queue_seconds"]
        self.model_seconds = histograms["model_seconds"]
