"""What Prometheus sees.

Every app has a ``Metrics`` with a registry of its own. With several workers
``PROMETHEUS_MULTIPROC_DIR`` is set (``server`` does that): each worker then writes its values to
files there, and ``render`` adds up the files of all, so that any worker gives the same totals.
Label values are bounded: model names that are not served count as ``unknown``.
"""

from __future__ import annotations

import os
import time
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from bon_common.selection.spread import is_computable
from bon_gateway.judging import JudgeUsage
from bon_gateway.types import Selection, UpstreamState
from bon_gateway.verdicts import VerdictOutcome

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "bon_"
LIVE_GAUGES = "gauge_live*_"
"""Prefix of the files of gauges that count only while their process lives; its id follows."""
UNKNOWN = "unknown"
Child = TypeVar("Child", Counter, Histogram)
Mode = Literal["livesum", "livemin", "livemostrecent"]
GONE = nan
"""Value of a gauge whose subject is gone. Such a gauge is not shown."""

DURATION_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 21, 30, 60, 120, 300, 600)
OVERHEAD_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)
SCORE_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
REWARD = (-10, -8, -6, -5, -4, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 4, 5, 6, 8, 10)
DIVERSITY = (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1)
GAIN = (0, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 7.5, 10)


class Metrics:
    """All of the gateway's metrics.

    ``models`` are the served models' names, ``strategies`` those that a request may choose. Other
    names count as ``unknown``. With None every name counts, and the callers bound them.
    """

    def __init__(
        self, models: Iterable[str] | None = None, strategies: Iterable[str] | None = None
    ) -> None:
        self._models = None if models is None else frozenset(models)
        self._strategies = None if strategies is None else frozenset(strategies)
        self._directory = os.environ.get(MULTIPROCESS_VARIABLE)
        self.registry = CollectorRegistry()
        self._add_counters()
        self._add_histograms()
        self._add_gauges()

    def _add_counters(self) -> None:
        def counters(name: str, meaning: str, *labels: str) -> _Family[Counter]:
            return _Family(Counter(name, meaning, labels, registry=self.registry))

        answered = "Chat completions answered, by HTTP status (499: the client left)."
        self._requests = counters("bon_requests", answered, "model", "strategy", "status")
        became = "Candidates by what became of them."
        self._candidates = counters("bon_candidates", became, "model", "status")
        paid = "Tokens paid: the prompt once, winner, discarded, and read by the reward model."
        self._tokens = counters("bon_tokens", paid, "model", "kind")
        lost = "Answers that lost something on the way, by what was lost."
        self._degraded = counters("bon_degraded", lost, "model", "reason")
        why = "Answers of strategies that draw in waves, by why they stopped."
        self._stopped = counters("bon_stopped", why, "model", "reason")
        waves = "Waves drawn for these answers together."
        self._rounds = counters("bon_rounds", waves, "model")
        drew = "Candidates of policies with variants, by the variant that drew them last."
        self._variant_candidates = counters(
            "bon_variant_candidates", drew, "model", "variant", "status"
        )
        generated = "Tokens that were generated for these candidates."
        self._variant_tokens = counters("bon_variant_tokens", generated, "model", "variant")
        best = "Answers whose winner came from the variant."
        self._variant_wins = counters("bon_variant_wins", best, "model", "variant")
        less = "Estimated tokens less than plain best-of-n, and more (negative), for its answers."
        self._saved = counters("bon_saved_tokens", less, "model", "strategy", "sign")
        without = "Answers chosen without one of several rewards, because it was down."
        self._left_out = counters("bon_rewards_left_out", without, "model", "reward")
        whether = "Answers of strategies that prune, by whether they could, or why not."
        self._pruning = counters("bon_pruning", whether, "model", "state")
        # A histogram's sum falls with each negative value, which `rate` takes for a restart.
        # Two sums that only rise give the true mean.
        sums = "Sum of the winners' rewards and of their gains, positive and negative apart."
        self._rewards = counters("bon_rewards", sums, "model", "of", "sign")
        self._score_errors = counters(
            "bon_score_errors",
            "Calls of a reward backend that failed, by the code of the error: reward_refused is"
            " about what was to be scored, any other about the reward model.",
            *("reward", "code"),
        )
        scored = "Calls of /v1/score answered, by HTTP status (499: the client left)."
        self._score_requests = counters("bon_score_requests", scored, "reward", "status")
        unread = "Failed calls to an embedder, by the code of the error."
        self._embed_errors = counters("bon_embed_errors", unread, "embedder", "code")
        verdicts = "Calls to chat models for verdicts, and missing verdicts (abstained)."
        self._judge_calls = counters("bon_judge_calls", verdicts, "reward", "kind")
        said = "Verdicts on candidates: pass, fail, abstain. Identical answers count once."
        self._verdicts = counters("bon_verdicts", said, "model", "verifier", "outcome")
        read = "Tokens of these calls: prompt, cached (of the prompt), completion."
        self._judge_tokens = counters("bon_judge_tokens", read, "reward", "kind")
        looked = "Lookups of rewards and candidates in a cache: hit or miss."
        self._cache_lookups = counters("bon_cache_lookups", looked, "cache", "outcome")
        gone = "Entries that a full cache dropped before their time."
        self._cache_dropped = counters("bon_cache_dropped", gone, "cache")
        self._recorded = counters(
            "bon_recorded",
            "Records of the candidate log: written, dropped (queue full) or failed (disk,"
            " or what cannot be made a line).",
            "outcome",
        )
        self._recorder_restarts = Counter(
            "bon_recorder_restarts",
            "Times that the candidate log's writer died and was started again.",
            registry=self.registry,
        )

    def _add_histograms(self) -> None:
        def histograms(
            name: str, meaning: str, buckets: Sequence[float], *labels: str
        ) -> _Family[Histogram]:
            return _Family(
                Histogram(name, meaning, labels, registry=self.registry, buckets=buckets)
            )

        whole = "From the first byte asked to the last byte answered."
        self._duration = histograms(
            "bon_request_duration_seconds", whole, DURATION_S, "model", "strategy"
        )
        own = "The gateway's own share of a request's duration."
        self._overhead = histograms("bon_overhead_seconds", own, OVERHEAD_S, "model", "strategy")
        raw = "Raw reward of the winner."
        self._winner_reward = histograms("bon_winner_reward", raw, REWARD, "model")
        gain = "The winner's reward minus the mean of all scored candidates."
        self._gain = histograms("bon_reward_gain", gain, GAIN, "model")
        apart = "Mean distance between a request's embedded answers: 1 less the cosine, over pairs."
        self._diversity = histograms("bon_diversity", apart, DIVERSITY, "model")
        took = "Time of one call to an embedder."
        self._embedding = histograms("bon_embed_seconds", took, SCORE_S, "embedder")
        call = "One call of a reward backend."
        self._score = histograms("bon_score_seconds", call, SCORE_S, "reward")
        verified = "Time to verify one answer, the wait for a free call included."
        self._verify = histograms("bon_verify_seconds", verified, SCORE_S, "model", "verifier")

    def _add_gauges(self) -> None:
        def gauge(name: str, meaning: str, mode: Mode, *labels: str) -> Gauge:
            return Gauge(name, meaning, labels, registry=self.registry, multiprocess_mode=mode)

        self._requests_in_flight = gauge(
            "bon_requests_in_flight", "API requests being answered now.", "livesum"
        )
        self._candidates_in_flight = gauge(
            "bon_candidates_in_flight", "Candidates being drawn now.", "livesum"
        )
        # The states are written when metrics are asked for, so the newest view is the true one.
        up = "Whether an upstream takes requests: 1 up, 0 not."
        self._upstream_up = gauge("bon_upstream_up", up, "livemostrecent", "upstream")
        states = "Upstreams of a policy or a reward model by their state."
        self._replicas = gauge("bon_replicas", states, "livemostrecent", "backend", "state")
        self._reload_successful = gauge(
            "bon_config_last_reload_successful",
            "Whether the settings that were read last are in force: 1 yes, 0 they were refused.",
            "livemin",
        )
        self._reload_time = gauge(
            "bon_config_last_reload_timestamp_seconds",
            "Unix time at which settings were last read and found good.",
            "livemin",
        )
        self.reloaded(successful=True)
        self._upstreams: frozenset[str] = frozenset()
        self._backends: frozenset[str] = frozenset()
        # Without this a process that gets the id of a dead one would continue its gauges.
        self.set_requests_in_flight(0)
        self.set_candidates_in_flight(0)

    def know(self, models: Iterable[str], strategies: Iterable[str] = ()) -> None:
        """Serve these models and strategies from now on. The earlier ones stay known, because
        requests for them may still be running."""
        if self._strategies is not None:
            self._strategies |= frozenset(strategies)
        if self._models is not None:
            self._models |= frozenset(models)

    def reloaded(self, *, successful: bool) -> None:
        """Settings were read."""
        self._reload_successful.set(int(successful))
        if successful:
            self._reload_time.set(time.time())

    def observe_request(
        self, model: str | None, strategy: str | None, status: int, seconds: float
    ) -> None:
        """One chat completion has ended, successfully or not."""
        model = self._model(model)
        known = self._strategy(strategy)
        self._requests.of(model, known, str(status)).inc()
        self._duration.of(model, known).observe(seconds)

    def observe_selection(self, model: str, selection: Selection, overhead_s: float) -> None:
        """One selection was made: candidates, tokens, rewards, and what was lost."""
        model = self._model(model)
        self._overhead.of(model, self._strategy(selection.strategy)).observe(overhead_s)
        statuses = [candidate.status for candidate in selection.candidates]
        for status in set(statuses):
            self._candidates.of(model, status).inc(statuses.count(status))
        usage = selection.usage
        self._tokens.of(model, "prompt").inc(usage.prompt_tokens)
        self._tokens.of(model, "winner").inc(usage.winner_tokens)
        self._tokens.of(model, "discarded").inc(usage.discarded_tokens)
        self._tokens.of(model, "reward").inc(usage.reward_tokens)
        won = selection.winner.reward
        # After one that is not finite, or a few near the largest float, a sum would be infinite for
        # as long as the process lives.
        if won is not None and is_computable(won):
            self._winner_reward.of(model).observe(won)
            self._add_reward(won, model, "winner")
            scored = [
                c.reward
                for c in selection.candidates
                if c.reward is not None and is_computable(c.reward)
            ]
            if len(scored) > 1:
                gain = won - sum(scored) / len(scored)
                self._gain.of(model).observe(gain)
                self._add_reward(gain, model, "gain")
        if selection.stopped is not None:
            self._stopped.of(model, selection.stopped).inc()
            self._rounds.of(model).inc(selection.rounds)
        if selection.saved_tokens is not None:
            strategy = self._strategy(selection.strategy)
            _add_signed(self._saved, selection.saved_tokens, model, strategy)
        if selection.pruning is not None:
            self._pruning.of(model, selection.pruning).inc()
        if selection.diversity is not None:
            self._diversity.of(model).observe(selection.diversity)
        for name in selection.left_out:
            self._left_out.of(model, name).inc()
        for reason in selection.degraded:
            self._degraded.of(model, reason).inc()
        self._observe_variants(model, selection)

    def _observe_variants(self, model: str, selection: Selection) -> None:
        """The settings name the variants, so there are few."""
        for candidate in selection.candidates:
            if candidate.variant is not None:
                self._variant_candidates.of(model, candidate.variant, candidate.status).inc()
                self._variant_tokens.of(model, candidate.variant).inc(candidate.paid_tokens)
        if selection.winner.variant is not None:
            self._variant_wins.of(model, selection.winner.variant).inc()

    def _add_reward(self, value: float, model: str, of: Literal["winner", "gain"]) -> None:
        _add_signed(self._rewards, value, model, of)

    def observe_discarded(self, model: str, tokens: int) -> None:
        """Generated tokens that nobody got: the client left, or the request failed."""
        self._tokens.of(self._model(model), "discarded").inc(tokens)

    def observe_score(self, reward: str, seconds: float, error: str | None) -> None:
        """One call of a reward backend has ended; ``error`` is the code of its error, if any."""
        self._score.of(reward).observe(seconds)
        if error is not None:
            self._score_errors.of(reward, error).inc()

    def observe_score_request(self, reward: str | None, status: int) -> None:
        """One call of ``/v1/score`` has ended, successfully or not. ``reward`` is a name in the
        settings; None if the call named no reward of this gateway."""
        self._score_requests.of(UNKNOWN if reward is None else reward, str(status)).inc()

    def observe_embedding(self, embedder: str, seconds: float, error: str | None) -> None:
        """One call of an embedder has ended; ``error`` is the code of its error, if any."""
        self._embedding.of(embedder).observe(seconds)
        if error is not None:
            self._embed_errors.of(embedder, error).inc()

    def observe_judging(self, reward: str, usage: JudgeUsage) -> None:
        """Counts the cost of one call to a reward backend that asks chat models."""
        self._judge_calls.of(reward, "asked").inc(usage.calls)
        self._judge_calls.of(reward, "abstained").inc(usage.abstentions)
        self._judge_tokens.of(reward, "prompt").inc(usage.prompt_tokens)
        self._judge_tokens.of(reward, "cached").inc(usage.cached_tokens)
        self._judge_tokens.of(reward, "completion").inc(usage.completion_tokens)

    def observe_verdict(
        self, model: str, verifier: str, outcome: VerdictOutcome, seconds: float | None
    ) -> None:
        """One verifier has given its verdict; ``seconds`` is None if time was up before."""
        model = self._model(model)
        self._verdicts.of(model, verifier, outcome).inc()
        if seconds is not None:
            self._verify.of(model, verifier).observe(seconds)

    def cache_meter(self, cache: str) -> CacheMeter:
        """Counts the lookups of a cache, by the path of its backend: ``rewards.<name>``."""
        return CacheMeter(
            self._cache_lookups.of(cache, "hit"),
            self._cache_lookups.of(cache, "miss"),
            self._cache_dropped.of(cache),
        )

    def observe_recorded(
        self, outcome: Literal["written", "dropped", "failed"], count: int
    ) -> None:
        """Count records of the candidate log by what became of them. Any thread may call it."""
        self._recorded.of(outcome).inc(count)

    def observe_recorder_restart(self) -> None:
        self._recorder_restarts.inc()

    def set_requests_in_flight(self, count: int) -> None:
        self._requests_in_flight.set(count)

    def set_candidates_in_flight(self, count: int) -> None:
        self._candidates_in_flight.set(count)

    def set_upstreams(self, states: Mapping[str, Mapping[str, str]]) -> None:
        """Set the gauges of upstreams from ``Gateway.states``. Call it before ``render``."""
        known = set()
        for backend, upstreams in states.items():
            tally = Tally(upstreams.values())
            for state in UpstreamState:
                self._replicas.labels(backend, state).set(tally[state])
            for upstream, told in upstreams.items():
                name = f"{backend}.{upstream}"
                known.add(name)
                self._upstream_up.labels(name).set(told == UpstreamState.UP)
        # With several processes a gauge cannot be removed.
        for name in self._upstreams - known:
            self._upstream_up.labels(name).set(GONE)
        self._upstreams = frozenset(known)
        for backend in self._backends - set(states):
            for state in UpstreamState:
                self._replicas.labels(backend, state).set(GONE)
        self._backends = frozenset(states)

    def render(self) -> tuple[bytes, str]:
        """The metrics of all workers in Prometheus' text format, and its content type."""
        if self._directory is None:
            return generate_latest(_Own(self.registry)), CONTENT_TYPE_PLAIN_0_0_4
        _drop_gauges_of_the_dead(Path(self._directory))
        collector = _Workers(Path(self._directory))
        return generate_latest(_Own(collector)), CONTENT_TYPE_PLAIN_0_0_4

    def close(self) -> None:
        """End this process's gauges: nothing is in flight, and it sees no upstreams any more."""
        self.set_requests_in_flight(0)
        self.set_candidates_in_flight(0)
        if self._directory is not None:
            for path in Path(self._directory).glob(f"{LIVE_GAUGES}{os.getpid()}.db"):
                path.unlink(missing_ok=True)

    def _model(self, name: str | None) -> str:
        return _bounded(name, self._models)

    def _strategy(self, name: str | None) -> str:
        return _bounded(name, self._strategies)


@dataclass(frozen=True, slots=True)
class CacheMeter:
    """Counts lookups and dropped entries of one cache."""

    _hits: Counter
    _misses: Counter
    _dropped: Counter

    def looked_up(self, *, hits: int, misses: int) -> None:
        self._hits.inc(hits)
        self._misses.inc(misses)

    def dropped(self) -> None:
        """The full cache dropped one entry."""
        self._dropped.inc()


def _bounded(name: str | None, known: frozenset[str] | None) -> str:
    return UNKNOWN if name is None or (known is not None and name not in known) else name


class _Family(Generic[Child]):
    """A labelled metric. It keeps its children: the library's own look-up takes a lock."""

    __slots__ = ("_children", "_metric")

    def __init__(self, metric: Child) -> None:
        self._metric: Child = metric
        self._children: dict[tuple[str, ...], Child] = {}

    def of(self, *labels: str) -> Child:
        """The child with these label values, made at its first use."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child


def _add_signed(family: _Family[Counter], value: float, *labels: str) -> None:
    sign, other = ("positive", "negative") if value >= 0 else ("negative", "positive")
    # Make both signs exist from the first value on: a mean over a missing series has no data.
    family.of(*labels, other)
    family.of(*labels, sign).inc(abs(value))


class _Workers(Collector):
    """The values of all workers. The library's own collector fails on the file of a worker that has
    created it but not written to it yet."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        files = [str(path) for path in self._directory.glob("*.db") if _size(path)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return merged


def _size(path: Path) -> int:
    """0 if the file is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class _Own(Collector):
    """Leaves out the ``*_created`` series, which double the size and are of no use; gauges whose
    subject is gone; and the metrics of a model in this process, which share the files."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        for metric in self._collector.collect():
            if metric.name.startswith(PREFIX):
                metric.samples = [
                    sample
                    for sample in metric.samples
                    if not (sample.name.endswith("_created") or isnan(sample.value))
                ]
                yield metric


def _drop_gauges_of_the_dead(directory: Path) -> None:
    """Remove the gauges of dead workers. Their counters stay."""
    for path in directory.glob(f"{LIVE_GAUGES}*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            continue
