"""Prometheus metrics of one server, in a registry of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
TOKENS = (64, 256, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class ModelMetrics:
    """The instruments of one model. Each is `reward_server_` and its field's name, with the text
    and, for a histogram, the buckets that its annotation gives."""

    sequences: Annotated[Counter, "Sequences scored."]
    tokens: Annotated[Counter, "Tokens computed, no padding."]
    tokens_asked: Annotated[
        Counter, "Tokens of all candidates that were scored, each with its prompt."
    ]
    tokens_reused: Annotated[Counter, "Tokens of prompts that an earlier batch had computed."]
    prefix_lookups: Annotated[
        Counter, "Prompts of scored candidates that were looked for among the kept ones."
    ]
    prefix_hits: Annotated[Counter, "Prompts whose beginning, at least, was found."]
    forwards: Annotated[Counter, "Calls of the network."]
    out_of_memory: Annotated[Counter, "Batches that did not fit the device."]
    queue_sequences: Annotated[Gauge, "Waiting sequences."]
    queue_tokens: Annotated[Gauge, "Tokens to be computed for what waits."]
    batch_budget_tokens: Annotated[
        Gauge, "Tokens allowed in one forward; halved when memory ran out."
    ]
    prefix_bytes: Annotated[Gauge, "Memory that kept prompts take."]
    prefix_entries: Annotated[Gauge, "Prompts that are kept."]
    batch_sequences: Annotated[Histogram, "Sequences in a batch.", SEQUENCES]
    batch_tokens: Annotated[Histogram, "Tokens computed in a batch.", TOKENS]
    batch_fill_ratio: Annotated[
        Histogram, "Share of a batch's computed positions that held a token.", SHARES
    ]
    queue_seconds: Annotated[Histogram, "Wait of a request for the model.", SECONDS]
    model_seconds: Annotated[Histogram, "Duration of a batch.", SECONDS]


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
        self._by_model: dict[str, Any] = {}
        for name, hint in get_type_hints(ModelMetrics, include_extras=True).items():
            kind, text, *buckets = get_args(hint)
            options = {"buckets": buckets[0]} if buckets else {}
            self._by_model[name] = kind(
                f"reward_server_{name}", text, ["model"], registry=self.registry, **options
            )

    def of(self, model: str) -> ModelMetrics:
        """The instruments of one model, by its served name."""
        return ModelMetrics(**{name: each.labels(model) for name, each in self._by_model.items()})

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.registry)
