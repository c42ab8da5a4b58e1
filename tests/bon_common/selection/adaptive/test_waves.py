from __future__ import annotations

from bon_common.selection.adaptive.waves import Waves


def test_the_last_wave_is_cut_at_the_cap() -> None:
    waves = Waves(first=4, size=3, cap=9)
    assert [waves.after(drawn) for drawn in (0, 4, 7, 9, 12)] == [4, 3, 2, 0, 0]
    assert list(waves.ends()) == [4, 7, 9]


def test_a_first_wave_above_the_cap_is_all() -> None:
    assert list(Waves(first=8, size=2, cap=5).ends()) == [5]
