from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.recording.files import LogFiles, prepare_folder
from bon_gateway.sections.recording import RecordingSettings

LINE = b'{"a": 1}\n'


def files(
    folder: Path, *, max_bytes: int = 10**6, keep: int = 10, compress: bool = True
) -> LogFiles:
    settings = RecordingSettings(folder=str(folder), max_bytes=max_bytes, keep=keep, gzip=compress)
    return LogFiles(settings)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_lines_are_appended_and_can_be_read_at_once(tmp_path: Path) -> None:
    log = files(tmp_path / "new" / "folder")
    log.append(LINE)
    log.append(LINE)
    (path,) = (tmp_path / "new" / "folder").iterdir()
    assert path.read_bytes() == LINE * 2
    assert path.name.startswith("candidates-2")
    assert path.suffix == ".jsonl"
    log.close()


def test_nothing_is_opened_before_the_first_line(tmp_path: Path) -> None:
    files(tmp_path).close()
    assert names(tmp_path) == []


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        log = files(tmp_path / "log", max_bytes=1)
        log.append(LINE)
        log.append(LINE)
        log.close()
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "log").iterdir()}
    assert modes == {0o600}
    assert len(names(tmp_path / "log")) == 2
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700


def test_a_file_that_is_large_enough_is_compressed_and_the_next_begun(tmp_path: Path) -> None:
    log = files(tmp_path, max_bytes=2 * len(LINE))
    for _ in range(5):
        log.append(LINE)
    log.close()
    packed = sorted(tmp_path.glob("*.jsonl.gz"))
    assert [gzip.decompress(path.read_bytes()) for path in packed] == [LINE * 2, LINE * 2]
    assert [path.read_bytes() for path in tmp_path.glob("*.jsonl")] == [LINE]
    assert len(names(tmp_path)) == 3


def test_compression_can_be_left_out(tmp_path: Path) -> None:
    log = files(tmp_path, max_bytes=1, compress=False)
    for _ in range(3):
        log.append(LINE)
    log.close()
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [LINE] * 3


@pytest.mark.parametrize("compress", [True, False])
def test_the_oldest_closed_files_go(tmp_path: Path, compress: bool) -> None:
    log = files(tmp_path, max_bytes=1, keep=2, compress=compress)
    for number in range(6):
        log.append(b"%d\n" % number)
        for path in tmp_path.iterdir():
            # As if a second had passed between two files.
            os.utime(path, (number, number)) if path.stat().st_mtime > 1e6 else None
    log.close()
    texts = [
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in sorted(tmp_path.iterdir())
    ]
    assert sorted(texts) == [b"3\n", b"4\n", b"5\n"]


def test_another_workers_open_file_is_left_alone_and_a_dead_ones_is_counted(
    tmp_path: Path,
) -> None:
    other = files(tmp_path)
    other.append(b"other\n")
    abandoned = tmp_path / "candidates-20200101T000000Z-1-000001.jsonl"
    abandoned.write_text("dead\n")
    os.utime(abandoned, (1, 1))
    half = tmp_path / "candidates-20200101T000000Z-1-000001.jsonl.gz.part"
    half.write_text("half")
    stranger = tmp_path / "notes.jsonl"
    stranger.write_text("mine\n")
    log = files(tmp_path, max_bytes=1, keep=1)
    log.append(LINE)
    assert abandoned.exists()
    assert not half.exists()
    log.append(LINE)
    log.close()
    assert not abandoned.exists()
    assert stranger.exists()
    assert sorted(p.read_bytes() for p in tmp_path.glob("candidates*.jsonl")) == [b"other\n", LINE]
    other.close()


def test_a_file_that_was_taken_away_is_begun_again(tmp_path: Path) -> None:
    log = files(tmp_path / "log")
    log.append(LINE)
    for path in (tmp_path / "log").iterdir():
        path.unlink()
    (tmp_path / "log").rmdir()
    log.append(LINE)
    log.close()
    assert [path.read_bytes() for path in (tmp_path / "log").iterdir()] == [LINE]


FULL_DISK = """
import resource, signal, sys
from bon_gateway.recording.files import LogFiles
from bon_gateway.sections.recording import RecordingSettings
log = LogFiles(RecordingSettings(folder=sys.argv[1], keep=1))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (250, hard))
log.append(b"a" * 99 + b"\\n")
log.append(b"b" * 99 + b"\\n")
for _ in range(2):
    try:
        log.append(b"c" * 99 + b"\\n")
    except OSError as error:
        print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.append(b"d" * 99 + b"\\n")
"""


def test_a_disk_that_fills_up_within_a_line_leaves_whole_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["File too large"] * 2
    (path,) = tmp_path.iterdir()
    assert [line[:1] for line in path.read_bytes().splitlines()] == [b"a", b"b", b"d"]
    assert {len(line) for line in path.read_bytes().splitlines()} == {99}


def test_a_folder_is_made_ready(tmp_path: Path) -> None:
    prepare_folder(str(tmp_path / "a" / "b"))
    assert names(tmp_path / "a" / "b") == []


def test_a_folder_that_cannot_be_written_to_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match=r"recording\.folder: .*cannot be written to") as caught:
        prepare_folder(str(tmp_path / "file" / "log"))
    assert caught.value.key == "recording.folder"
