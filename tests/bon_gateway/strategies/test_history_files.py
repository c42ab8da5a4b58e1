from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from bon_common.selection.pruning.probes import WINDOW as PROBES
from bon_common.selection.pruning.probes import PairSums, Probe
from bon_common.settings.errors import SettingsError
from bon_gateway.strategies import history_files
from bon_gateway.strategies.history import WINDOW, PastRequest, PastTraffic
from bon_gateway.strategies.history_files import KEEP, ModelFiles, ModelIdentity, prepare_folder

HERE = ModelIdentity("qwen/7b", "p", None, "r")


def past(at: int) -> PastRequest:
    return PastRequest(at, 40, (0.5 * at, None, 1.0))


def test_what_two_processes_wrote_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    one, other = ModelFiles(tmp_path, HERE), ModelFiles(tmp_path, HERE)
    one.write(PastTraffic([past(1), past(4)]))
    other.write(PastTraffic([past(2), past(3)]))
    one.write(PastTraffic([past(1), past(4), past(5)]))
    assert ModelFiles(tmp_path, HERE).read().requests == [past(at) for at in (1, 2, 3, 4, 5)]
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)


def test_only_the_newest_are_read(tmp_path: Path) -> None:
    ModelFiles(tmp_path, HERE).write(PastTraffic([past(at) for at in range(WINDOW)]))
    ModelFiles(tmp_path, HERE).write(PastTraffic([past(WINDOW)]))
    assert ModelFiles(tmp_path, HERE).read().requests == [past(at) for at in range(1, WINDOW + 1)]


def test_old_files_are_removed(tmp_path: Path) -> None:
    for at in range(KEEP + 2):
        ModelFiles(tmp_path, HERE).write(PastTraffic([past(at)]))
        (newest,) = [p for p in tmp_path.iterdir() if p.stat().st_mtime_ns > 10**18]
        os.utime(newest, ns=(at, at))
    assert ModelFiles(tmp_path, HERE).read().requests == [past(at) for at in range(2, KEEP + 2)]
    assert len(list(tmp_path.iterdir())) == KEEP


def test_another_served_model_has_its_own(tmp_path: Path) -> None:
    ModelFiles(tmp_path, ModelIdentity("other", "p", None, "r")).write(PastTraffic([past(1)]))
    assert ModelFiles(tmp_path, HERE).read().requests == []


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (ModelIdentity("qwen/7b", "q", None, "r"), "with policy 'q' and reward 'r', and here"),
        (ModelIdentity("qwen/7b", "p", None, "s"), "with policy 'p' and reward 's', and here"),
        (ModelIdentity("qwen/7b", "p", "v2", "r"), "with policy 'p' (v2) and reward 'r', and"),
    ],
)
def test_rewards_of_other_models_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, other: ModelIdentity, reason: str
) -> None:
    ModelFiles(tmp_path, other).write(PastTraffic([past(1)]))
    ModelFiles(tmp_path, HERE).write(PastTraffic([past(2)]))
    assert ModelFiles(tmp_path, HERE).read().requests == [past(2)]
    assert len(caplog.records) == 1
    assert reason in caplog.text


def changed(content: bytes, **fields: object) -> bytes:
    return orjson.dumps({**orjson.loads(content), **fields})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda c: changed(c, version=1), "it has version 1, and this gateway reads 2"),
        (lambda c: c[:40], "left out"),
        (lambda c: b"", "left out"),
        (lambda c: changed(c, requests=[[1, 2, ["x", 3.0]]]), "Expected `float | null`, got `str`"),
        (lambda c: changed(c, requests=[[1, -2, [0.0, 3.0]]]), "Expected `int` >= 0"),
        # Their squares, and the mean of so many tokens, are no floats.
        (lambda c: changed(c, requests=[[1, 2, [0.0, 1e200]]]), "Expected `float` <= 1e+100"),
        (lambda c: c.replace(b",40,", b",%b," % (b"4" * 400)), "Expected `int` <= 90071"),
        (lambda c: changed(c, requests=0)[:-2] + b"[" * 100_000, "left out"),
        (lambda c: changed(c, requests=[[1, 2, [3.0, None]]]), "fewer than two rewards"),
        (lambda c: changed(c, probes=[[1, 4, 40, {"64": [4, 0.5, -1.0, 2.0, 0.0]}]]), "a probe is"),
        (lambda c: changed(c, probes=[[1, 0, 40, {}]]), "a probe is negative"),
        (
            lambda c: changed(c, probes=[[1, 4, 40, {"x": [4, 0.5, 1.0, 2.0, 0.0]}]]),
            "Expected `int`",
        ),
        (lambda c: c + b" " * (1 << 20), "larger than"),
    ],
)
def test_what_cannot_be_used_is_left_out_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: object, reason: str
) -> None:
    ModelFiles(tmp_path, HERE).write(PastTraffic([past(1)]))
    (path,) = tmp_path.iterdir()
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    assert ModelFiles(tmp_path, HERE).read().requests == []
    (record,) = caplog.records
    assert path.name in record.getMessage()
    assert reason in record.getMessage()


def probe(at: int) -> Probe:
    return Probe(at, 4, 400, {64: PairSums(4, 0.5, 1.0, 2.0, -0.5), 128: PairSums(2, 0, 1, 2, 1)})


def test_probes_are_read_as_they_were_written(tmp_path: Path) -> None:
    one, other = ModelFiles(tmp_path, HERE), ModelFiles(tmp_path, HERE)
    one.write(PastTraffic([past(1)], [probe(1), probe(3)]))
    other.write(PastTraffic([], [probe(2)]))
    found = ModelFiles(tmp_path, HERE).read()
    assert found == PastTraffic([past(1)], [probe(1), probe(2), probe(3)])
    one.write(PastTraffic([], [probe(at) for at in range(PROBES + 9)]))
    assert [p.at for p in ModelFiles(tmp_path, HERE).read().probes] == [*range(9, PROBES + 9)]


def test_a_file_without_probes_is_read(tmp_path: Path) -> None:
    """That of a gateway which did not know of them."""
    ModelFiles(tmp_path, HERE).write(PastTraffic([past(1)], [probe(1)]))
    (path,) = tmp_path.iterdir()
    content = orjson.loads(path.read_bytes())
    del content["probes"]
    path.write_bytes(orjson.dumps(content))
    assert ModelFiles(tmp_path, HERE).read() == PastTraffic([past(1)], [])


def test_a_full_file_can_be_read_again(tmp_path: Path) -> None:
    numbers = {2**k: PairSums(16, 0.1 + k, 1 / 3, 2 / 3, -1 / 7) for k in range(16)}
    full = PastTraffic(
        [PastRequest(2**31, 10**6, tuple([-1 / 3] * 64))] * WINDOW,
        [Probe(2**31, 16, 10**6, numbers)] * PROBES,
    )
    ModelFiles(tmp_path, HERE).write(full)
    assert ModelFiles(tmp_path, HERE).read() == full


def test_a_half_written_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ModelFiles(tmp_path, HERE)
    files.write(PastTraffic([past(1)]))

    def power_cut(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(history_files, "flush", power_cut)
    with pytest.raises(OSError, match="Input/output"):
        files.write(PastTraffic([past(1), past(2)]))
    assert ModelFiles(tmp_path, HERE).read().requests == [past(1)]


def test_a_folder_that_is_gone_is_made_again(tmp_path: Path) -> None:
    files = ModelFiles(tmp_path / "gone", HERE)
    assert files.read().requests == []
    files.write(PastTraffic([past(1)]))
    assert files.read().requests == [past(1)]


def test_a_folder_that_cannot_be_is_an_error_of_the_settings(tmp_path: Path) -> None:
    prepare_folder(str(tmp_path / "new" / "folder"))
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"history\.folder") as caught:
        prepare_folder(str(tmp_path / "file" / "folder"))
    assert "Not a directory" in str(caught.value)
