"""The command line: what it prints where, and its exit codes.

What ends before anything is served is asked in this process, since a start takes longer than the
rest of such a test. What goes as far as to serve is a process of its own.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import bon_gateway
from bon_common.settings.errors import SettingsError
from bon_gateway import cli
from bon_gateway.auth import load_keyring
from bon_gateway.reload.source import check_libraries
from bon_gateway.sections.server import AuthSettings
from bon_gateway.settings.loader import load

FILE = """
policies: {base: {type: vllm, urls: ["http://me:secret@127.0.0.1:9"]}}
models: {assistant: {policy: base, strategy: {type: single}}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(FILE)
    return path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bon_gateway", *arguments]


Done = subprocess.CompletedProcess[str]
Bon = Callable[..., Done]


@pytest.fixture
def bon(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bon:
    """``bon("serve", ..., environ={...}, given="stdin")``: the command, in this process."""

    def run(*arguments: str, environ: dict[str, str] | None = None, given: str = "") -> Done:
        for name, value in (environ or {}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        code: Any
        try:
            code = cli.main(arguments)
        except SystemExit as ended:  # argparse's
            code = ended.code or 0
        return Done(arguments, code, *capsys.readouterr())

    return run


def bon_process(*arguments: str) -> Done:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, check=False
    )


def assert_one_line(done: Done, message: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"bon-gateway: {message}")
    assert "secret" not in line


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        (["--set", "server.prot=1"], {}, "--set: server.prot: unknown key; did you mean 'port'?"),
        (["--set", "server.port"], {}, "--set: server.port: expected KEY=VALUE"),
        (["--set", "server.port=["], {}, "--set: server.port: not YAML: line 1: "),
        (["--port", "many"], {}, "--port: server.port: should be a whole number, not 'many'"),
        (
            [],
            {"BON_GATEWAY__LIMITS__MAX_N": "0"},
            "environment BON_GATEWAY__LIMITS__MAX_N: limits.max_n: should be greater than 0, not 0",
        ),
        (
            [],
            {"BON_GATEWAY_API_KEYS": "secret"},
            "environment BON_GATEWAY_API_KEYS: pair 1: expected 'name:key', both not empty",
        ),
        (
            ["--set", "auth.keys_file=/nowhere/keys"],
            {},
            "/nowhere/keys: auth.keys_file: cannot be read: No such file or directory",
        ),
        (
            ["--config", "/nowhere.yaml"],
            {},
            "/nowhere.yaml: cannot be read: No such file or directory",
        ),
        (["--port", "99999"], {}, "--port: server.port: should be less than or equal to 65535"),
        (["--set", "server.drain_grace_s=.inf"], {}, "--set: server.drain_grace_s: should be "),
        (["--set", "limits=&a {b: *a}"], {}, "--set: limits: not YAML: line 1: it holds itself"),
        ([], {"BON_GATEWAY_API_KEYS": ""}, "environment BON_GATEWAY_API_KEYS: is set but holds no"),
        (
            ["--set", "auth.keys_env=X_KEYS"],
            {},
            "settings: auth.keys_env: the environment",
        ),
        (["--set", "auth.keys_file=/dev/null"], {}, "/dev/null: auth.keys_file: holds no key"),
        (
            ["--set", "policies.base.api_key_env=X_KEY"],
            {},
            "settings: policies.base.api_key_env: the environment variable X_KEY is not set",
        ),
    ],
)
def test_wrong_settings_are_one_line_and_exit_code_2(
    config: Path, bon: Bon, arguments: list[str], environ: dict[str, str], message: str
) -> None:
    assert_one_line(bon("serve", "--config", str(config), *arguments, environ=environ), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "server.prot=1"], "--set: server.prot: unknown key; did you mean 'port'?"),
        (
            ["--set", "recording.folder=/dev/null/log"],
            "recording: recording.folder: /dev/null/log: cannot be written to: Not a directory",
        ),
        (["--host", "no-such-host.invalid"], "server: server.host: no-such-host.invalid: "),
        (["--host", "a" * 70], "server: server.host: "),
    ],
)
def test_a_process_that_cannot_serve_says_so_in_one_line(
    config: Path, arguments: list[str], message: str
) -> None:
    assert_one_line(bon_process("serve", "--config", str(config), *arguments), message)


def test_print_config_shows_the_result_without_secrets(config: Path, bon: Bon) -> None:
    done = bon(
        "serve",
        "--config",
        str(config),
        "--print-config",
        "--workers",
        "3",
        "--set",
        "server.port=1",
        "--port",
        "2",
        environ={"BON_GATEWAY__SERVER__LOG_LEVEL": "debug"},
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "secret" not in done.stdout
    shown = yaml.safe_load(done.stdout)
    assert shown["policies"]["base"]["urls"] == ["http://***@127.0.0.1:9"]
    assert shown["server"]["workers"] == 3
    assert shown["server"]["port"] == 2
    assert shown["server"]["log_level"] == "debug"


def test_print_config_without_a_file_shows_the_embedded_default(bon: Bon) -> None:
    done = bon("serve", "--print-config")
    assert list(yaml.safe_load(done.stdout)["models"]) == ["demo", "demo-first-k", "demo-single"]


@pytest.mark.parametrize("demo", ["toy", "real"])
def test_demo_says_which_default_is_served(bon: Bon, config: Path, demo: str) -> None:
    """Where the settings name models of their own, they are served."""
    done = bon("serve", "--demo", demo, "--print-config")
    name = {"toy": "demo", "real": "smollm2"}[demo]
    assert list(yaml.safe_load(done.stdout)["models"]) == [
        name,
        f"{name}-first-k",
        f"{name}-single",
    ]
    own = bon("serve", "--demo", demo, "--config", str(config), "--print-config")
    assert list(yaml.safe_load(own.stdout)["models"]) == ["assistant"]


def test_a_missing_library_is_said_with_its_cure(config: Path) -> None:
    default, remote = load(None, {}), load(config, {})
    check_libraries(default, lambda _: True)
    check_libraries(remote, lambda _: False)
    with pytest.raises(SettingsError) as caught:
        check_libraries(default, lambda library: library != "torch")
    assert str(caught.value) == (
        "embedded default: policies.demo: needs torch: pip install 'bon-gateway[embedded]'"
    )


def test_hash_key_makes_a_key_that_its_line_lets_in(tmp_path: Path, bon: Bon) -> None:
    one, two = bon("hash-key", "alice"), bon("hash-key", "bob")
    (key,) = one.stderr.splitlines()
    path = tmp_path / "keys"
    path.write_text(one.stdout + two.stdout)
    assert len(key) > 40
    assert key not in one.stdout
    assert one.stderr != two.stderr
    ring = load_keyring(AuthSettings(keys_file=str(path)), {})
    assert ring.owner(f"Bearer {key}") == "alice"
    assert ring.owner(f"Bearer {two.stderr.strip()}") == "bob"


def test_hash_key_takes_a_key_from_stdin(bon: Bon) -> None:
    done = bon("hash-key", "alice", "--stdin", given="my key\n")
    assert done.stdout == f"alice: sha256:{hashlib.sha256(b'my key').hexdigest()}\n"
    assert done.stderr == ""


@pytest.mark.parametrize(("name", "given"), [("alice", "\n"), ("al ice", "k"), ("", "k")])
def test_hash_key_refuses_what_the_keys_file_would(bon: Bon, name: str, given: str) -> None:
    done = bon("hash-key", name, "--stdin", given=given)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_demo_models_are_where_it_says() -> None:
    """As a process: it is what a shell calls."""
    lines = bon_process("demo-models").stdout.splitlines()
    folders = dict(line.split(" ", 1) for line in lines)
    assert set(folders) == {"policy", "reward"}
    assert all((Path(folder) / "config.json").is_file() for folder in folders.values())


def test_version(bon: Bon) -> None:
    assert bon("--version").stdout == f"bon-gateway {bon_gateway.__version__}\n"


def test_without_a_command_it_says_what_there_is(bon: Bon) -> None:
    done = bon()
    assert done.returncode == 2
    assert "serve" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_serve_listens_with_its_keys_and_ends_well(
    config: Path, tmp_path: Path, workers: int
) -> None:
    log = tmp_path / "stderr"
    environ = {**os.environ, "BON_GATEWAY_API_KEYS": "alice:k1"}
    arguments = [
        "serve",
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--workers",
        str(workers),
    ]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command(*arguments), stderr=stderr, env=environ)
    try:
        url = _url(log, process)
        models = f"{url}/v1/models"
        assert httpx.get(models).status_code == 401
        answer = httpx.get(models, headers={"authorization": "Bearer k1"})
        assert [model["id"] for model in answer.json()["data"]] == ["assistant"]
        assert httpx.get(f"{url}/livez").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert "k1" not in log.read_text()


def _url(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 30
    while True:
        found = re.search(r"^listening on (\S+)$", log.read_text(), re.MULTILINE)
        if found:
            return found[1]
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_file_of_authorities_that_is_not_there_is_one_line_and_exit_code_2(
    config: Path, workers: str
) -> None:
    config.write_text(
        FILE.replace("http://me:secret@", "https://").replace('9"]}', '9"], ca_file: /no}')
    )
    done = bon_process("serve", "--config", str(config), "--workers", workers)
    assert done.returncode == 2
    assert (
        done.stderr
        == "bon-gateway: /no: policies.base.ca_file: cannot be read: No such file or directory\n"
    )


def test_a_password_is_not_shown_whatever_it_holds(config: Path, bon: Bon) -> None:
    urls = ["http://me:secret@secret@h:1", "http://me:1/secret@h/x", "http://h:1/plain"]
    done = bon(
        "serve", "--config", str(config), "--print-config", "--set", f"policies.base.urls={urls}"
    )
    assert "secret" not in done.stdout + done.stderr
    shown = yaml.safe_load(done.stdout)["policies"]["base"]["urls"]
    assert shown == ["http://***@h:1", "http://***@h/x", "http://h:1/plain"]


def test_an_empty_file_is_said_to_serve_the_demo(tmp_path: Path, bon: Bon) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# models: none yet\n")
    done = bon("serve", "--config", str(path), "--print-config")
    assert done.returncode == 0
    assert done.stderr == f"bon-gateway: {path}: names no model, so the demo models are served\n"


def test_a_file_that_names_the_demo_models_is_not_said_to_name_none(
    tmp_path: Path, bon: Bon
) -> None:
    """``--print-config`` shows settings that serve as they stand."""
    path = tmp_path / "gateway.yaml"
    path.write_text(bon("serve", "--print-config").stdout)
    done = bon("serve", "--config", str(path), "--print-config")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == path.read_text()


def test_a_reader_that_leaves_ends_a_command_quietly() -> None:
    command = [sys.executable, "-m", "bon_gateway", "serve", "--print-config"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(60) == cli.READER_LEFT
    assert told == b""
