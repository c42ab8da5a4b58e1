from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from bon_common.selection.adaptive.gain import learn_gain
from bon_common.selection.adaptive.waves import Waves
from bon_common.selection.pruning.probes import PairSums, Probe
from bon_gateway.strategies import history as module
from bon_gateway.strategies.history import (
    EVERY,
    MOST_PRICES,
    MOST_REWARDS,
    MOST_TRIES,
    PROBES_AT_ONCE,
    REFIT,
    WINDOW,
    PastRequest,
    PastTraffic,
    WindowHistory,
)

WAVES = Waves(first=2, size=2, cap=8)


@dataclass
class Files:
    """HistoryFiles in memory."""

    found: Sequence[PastRequest] = ()
    written: list[list[PastRequest]] = field(default_factory=list)
    error: OSError | None = None
    probes: Sequence[Probe] = ()
    written_probes: list[list[Probe]] = field(default_factory=list)

    def read(self) -> PastTraffic:
        return PastTraffic(self.found, self.probes)

    def write(self, traffic: PastTraffic) -> None:
        if self.error is not None:
            raise self.error
        self.written.append([*traffic.requests])
        self.written_probes.append([*traffic.probes])


def rewards(seed: int, spread: float = 1.0) -> list[float | None]:
    source = random.Random(seed)
    mean = source.gauss(0, 3)
    return [source.gauss(mean, spread) for _ in range(8)]


def fill(history: WindowHistory, count: int, start: int = 0) -> None:
    for seed in range(start, start + count):
        history.add(rewards(seed), tokens=80)


async def price_of(history: WindowHistory, target: int = 4) -> float | None:
    await history.settled()
    history.price(WAVES, target)
    await history.settled()
    return history.price(WAVES, target)


async def test_nothing_is_known_before_the_least_number_of_requests() -> None:
    history = WindowHistory(least=20)
    assert history.tokens is None
    fill(history, 19)
    await history.settled()
    assert history.model is None
    assert history.price(WAVES, 4) is None
    fill(history, 1, start=19)
    assert history.model is None, "it is computed aside"
    await history.settled()
    assert history.model == learn_gain([rewards(seed) for seed in range(20)])
    assert history.tokens == 10.0


async def test_a_price_is_known_to_later_requests_than_the_first() -> None:
    history = WindowHistory(least=10)
    fill(history, 10)
    await history.settled()
    assert history.price(WAVES, 4) is None
    await history.settled()
    price = history.price(WAVES, 4)
    assert price is not None
    assert 0 < price < 1
    assert history.price(WAVES, 6) is None, "another target has another price"


async def test_draws_below_the_cap_have_no_price() -> None:
    history = WindowHistory(least=10)
    fill(history, 10)
    await history.settled()
    higher = replace(WAVES, cap=9)
    history.price(higher, 4)
    await history.settled()
    assert history.price(higher, 4) is None


async def test_the_first_requests_are_drawn_whole_and_later_ones_now_and_then() -> None:
    history = WindowHistory(least=10)
    for seed in range(10):
        assert history.learns(8)
        fill(history, 1, start=seed)
    later = [history.learns(8) for _ in range(2 * EVERY)]
    assert sum(later) == 2
    assert history.learns(9), "a higher cap is not known yet"


async def test_it_gives_up_where_whole_draws_teach_nothing() -> None:
    history = WindowHistory()
    asked = [history.learns(8) for _ in range(MOST_TRIES + 5 * EVERY)]
    assert all(asked[:MOST_TRIES])
    assert sum(asked[MOST_TRIES:]) <= 7


async def test_clients_that_choose_many_caps_do_not_make_it_learn_them_all() -> None:
    history = WindowHistory()
    assert history.learns(8)
    caps = [history.learns(cap) for cap in range(1000, 2000)]
    assert sum(caps) < 2 * MOST_PRICES
    assert history.learns(8), "what it has begun goes on"


async def test_the_price_follows_the_traffic() -> None:
    history = WindowHistory(least=10)
    fill(history, 10)
    before = await price_of(history)
    assert before is not None
    for seed in range(WINDOW):
        history.add(rewards(seed, spread=10.0), tokens=8)
    assert history.tokens == 1.0, "the window holds the newest alone"
    assert history.price(WAVES, 4) == before, "until another is known"
    await history.settled()
    after = history.price(WAVES, 4)
    assert after is not None
    assert 5 < after / before < 20


async def test_it_is_fitted_again_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = []
    monkeypatch.setattr(module, "learn_gain", lambda draws: fits.append(len(draws)))
    history = WindowHistory(least=5)
    for count in range(5 + 2 * REFIT):
        fill(history, 1, start=count)
        await history.settled()
    assert fits == [5, 5 + REFIT, 5 + 2 * REFIT]


async def test_long_draws_are_remembered_in_smaller_number() -> None:
    files = Files()
    history = WindowHistory(files, least=10_000)
    for at in range(20):
        history.add([float(at)] * 1000, tokens=1)
    await history.close()
    kept = [past.rewards[0] for past in files.written[-1]]
    assert kept == [float(at) for at in range(20 - MOST_REWARDS // 1000, 20)]


async def test_without_different_rewards_there_is_no_model() -> None:
    history = WindowHistory(least=5)
    for _ in range(5):
        history.add([1.0, 1.0], tokens=2)
    await history.settled()
    assert history.model is None
    assert history.price(WAVES, 4) is None


async def test_files_make_up_for_a_restart() -> None:
    files = Files()
    before = WindowHistory(files, least=10)
    fill(before, 12)
    await before.settled()
    await before.close()
    after = WindowHistory(Files(found=files.written[-1]), least=10)
    assert after.model is None
    await after.settled()
    assert after.model == learn_gain([rewards(seed) for seed in range(12)])
    assert not after.learns(8)


async def test_it_writes_what_it_has_seen_and_nothing_else() -> None:
    other = PastRequest(at=1, tokens=40, rewards=(0.0, None, 1.0, 0.5, 2.0))
    files = Files(found=[other] * 20)
    history = WindowHistory(files, least=10)
    fill(history, 3)
    await history.settled()
    assert history.model is not None, "what others have seen counts"
    fill(history, 1, start=3)
    await history.close()
    seen = [tuple(rewards(seed)) for seed in range(4)]
    assert [[request.rewards for request in once] for once in files.written] == [seen[:3], seen]


async def test_nothing_new_is_not_written() -> None:
    files = Files()
    await WindowHistory(files).close()
    assert files.written == []


async def test_a_folder_that_fails_costs_a_line_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    history = WindowHistory(Files(error=OSError(28, "No space left on device")), least=5)
    fill(history, 5)
    await history.settled()
    assert history.model is not None
    assert "cannot be written: No space left on device" in caplog.text
    await history.close()


async def test_closing_waits_for_the_step_that_runs_and_begins_no_other() -> None:
    history = WindowHistory(least=5)
    fill(history, 5)
    await history.settled()
    for target in (3, 4, 5, 6, 7):
        history.price(WAVES, target)
    await asyncio.sleep(0)
    await history.close()
    known = [t for t in (3, 4, 5, 6, 7) if history.price(WAVES, t) is not None]
    assert known == [3]
    assert {t.get_name() for t in asyncio.all_tasks()}.isdisjoint({"learning from rewards"})


SUMS = {64: PairSums(4, 0.5, 1.0, 2.0, 1.0)}


async def test_probes_are_written_and_make_up_for_a_restart() -> None:
    files = Files()
    history = WindowHistory(files)
    for _ in range(PROBES_AT_ONCE - 1):
        history.add_probe(SUMS, 4, 400)
    await history.settled()
    assert files.written == []
    history.add_probe(SUMS, 4, 400)
    await history.settled()
    assert [len(probes) for probes in files.written_probes] == [PROBES_AT_ONCE]
    history.add_probe(SUMS, 4, 800)
    await history.close()
    assert [len(probes) for probes in files.written_probes] == [PROBES_AT_ONCE, PROBES_AT_ONCE + 1]
    after = WindowHistory(Files(probes=files.written_probes[-1] * 5))
    assert not after.probes.enough, "the file is read aside"
    assert after._working is not None
    await after.settled()
    assert after.probes.enough
    assert after.probes.tokens == 100 * 12 / 11


async def test_what_another_process_wrote_is_not_written_again() -> None:
    files = Files(probes=[Probe(1, 4, 40, SUMS)] * 60)
    history = WindowHistory(files)
    history.add_probe(SUMS, 4, 400)
    await history.settled()
    assert history.probes.enough
    await history.close()
    assert [len(probes) for probes in files.written_probes] == [1]
