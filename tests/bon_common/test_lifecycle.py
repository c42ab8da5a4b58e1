from __future__ import annotations

import pytest

from bon_common.lifecycle import Lifecycle, Phase


def test_it_moves_forward() -> None:
    lifecycle = Lifecycle()
    phases = [lifecycle.phase]
    for step in (lifecycle.serve, lifecycle.drain, lifecycle.serve):
        step()
        phases.append(lifecycle.phase)
    assert phases == [Phase.STARTING, Phase.SERVING, Phase.DRAINING, Phase.DRAINING]


def test_a_drain_before_the_start_stands() -> None:
    lifecycle = Lifecycle()
    lifecycle.drain()
    lifecycle.serve()
    assert lifecycle.draining
    assert not lifecycle.serving


def test_it_counts_requests() -> None:
    lifecycle = Lifecycle()
    lifecycle.enter()
    lifecycle.enter()
    lifecycle.leave()
    assert lifecycle.in_flight == 1
    lifecycle.leave()
    with pytest.raises(ValueError, match="without"):
        lifecycle.leave()
