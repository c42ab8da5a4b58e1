"""monitoring/ is what scripts/monitoring.py writes, and Prometheus takes it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

pytest.importorskip("helm_python", reason="there is no wheel of Helm for this platform")

from scripts import monitoring


def test_the_folder_is_up_to_date() -> None:
    for name, text in monitoring.files().items():
        assert (monitoring.FOLDER / name).read_text("utf-8") == text, "run scripts/monitoring.py"


def test_nothing_of_kubernetes_is_left() -> None:
    for name, text in monitoring.files().items():
        for word in ("namespace", "$release", "service=", "pod=", "demo-bon", ".pod", ".service"):
            assert word not in text, (name, word)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_takes_it() -> None:
    for command in (["check", "rules", "rules.yaml"], ["check", "config", "prometheus.yaml"]):
        done = subprocess.run(
            ["promtool", *command],
            cwd=monitoring.FOLDER,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
