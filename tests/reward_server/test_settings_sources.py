from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reward_server.settings_sources import SettingsError, describe, parse_api_keys, resolve


def test_flags_win_over_the_environment_and_it_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("model: from-file\nport: 1\nlog_level: error\nmax_tokens: 7\n")
    environ = {"REWARD_SERVER_PORT": "2", "REWARD_SERVER_LOG_LEVEL": "debug", "HOME": "x"}
    argv = ["--config", str(config), "--port", "3", "--set", "max_tokens=9"]
    settings = resolve(argv, environ).settings
    assert settings.model == "from-file"
    assert settings.log_level == "debug"
    assert settings.port == 3
    assert settings.max_tokens == 9


def test_structured_and_boolean_values_can_be_written_as_text() -> None:
    argv = ["--model", "1", "--label-weights", "{helpful: 1, safe: 0.5}", "--allow-pad-eos", "yes"]
    settings = resolve(argv, {}).settings
    assert settings.model == "1"
    assert settings.label_weights == {"helpful": 1.0, "safe": 0.5}
    assert settings.allow_pad_eos is True


@pytest.mark.parametrize(
    ("argv", "environ", "line"),
    [
        ([], {}, "settings: model: name either one model, or several"),
        (["--model", "x", "--port", "many"], {}, "flags: port: "),
        (["--model", "x", "--set", "prot=1"], {}, "flags: prot: Extra inputs"),
        (["--model", "x", "--set", "port"], {}, "flags: --set: expected KEY=VALUE"),
        (["--model", "x", "--prot", "1"], {}, "flags: unrecognized arguments"),
        (["--model", "x", "--label-weights", "{"], {}, "flags: label_weights: not YAML"),
        (["--model", "x", "--label-weights", "{a: much}"], {}, "flags: label_weights.a: "),
        (["--model", "x", "--set", "api_keys=a:b"], {}, "flags: api_keys: secrets"),
        ([], {"REWARD_SERVER_PROT": "1"}, "environment: REWARD_SERVER_PROT: no such setting"),
        (
            ["--model", "x"],
            {"REWARD_SERVER_PORT": "tcp://10.0.0.1:8081"},
            "environment: REWARD_SERVER_PORT: written by a Kubernetes service",
        ),
        (["--config", "missing.yaml"], {}, "flags: --config: "),
        (["--model", "x", "--port", "99999"], {}, "flags: port: "),
        (["--model", "x", "--drain-grace-s", "inf"], {}, "flags: drain_grace_s: "),
        (["--model", "x", "--prefix-life-s", "nan"], {}, "flags: prefix_life_s: "),
        (["--set", "models=&a {b: *a}"], {}, "flags: models: not YAML: line 1: it holds itself"),
        (
            ["--model", "x"],
            {"REWARD_SERVER_API_KEYS": "a:b\nc:d"},
            "environment: REWARD_SERVER_API_KEYS: a key holds a line break",
        ),
        (["--set", "models={a: {modle: x}}"], {}, "flags: models.a.model.model: Field required"),
        (["--model", "x", "--set", "models={a: {model: x}}"], {}, "flags: model: name either one"),
        (
            ["--set", "models={a: {model: x}, b: {type: ensemble, members: [a, c]}}"],
            {},
            "flags: models.b.members: 'c' is no model of this server",
        ),
    ],
)
def test_a_bad_setting_names_its_source_and_key(
    argv: list[str], environ: dict[str, str], line: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(argv, environ)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["- a\n", "a: &a {b: *a}\n", "a: [\n", "1: 2\n", "api_keys: {a: b}\n", "prot: 1\n"]
)
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    with pytest.raises(SettingsError) as caught:
        resolve(["--config", str(config), "--model", "x"], {})
    assert str(caught.value).startswith(f"{config}: ")


def test_api_keys_are_parsed_and_never_shown() -> None:
    keys = parse_api_keys("ann:one, bob : two:with:colons\n")
    assert {name: key.get_secret_value() for name, key in keys.items()} == {
        "ann": "one",
        "bob": "two:with:colons",
    }
    settings = resolve(["--model", "x"], {"REWARD_SERVER_API_KEYS": "ann:hunter2"}).settings
    shown = describe(settings)
    assert yaml.safe_load(shown)["api_keys"] == ["ann"]
    assert "hunter2" not in shown


@pytest.mark.parametrize("text", ["hunter2", "a:hunter2,a:x", ":hunter2", "a:", "", ","])
def test_bad_api_keys_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_api_keys(text)
    assert "hunter2" not in str(caught.value)


def test_print_config_can_be_read_back() -> None:
    command = [
        sys.executable,
        "-m",
        "reward_server",
        "--model",
        "x",
        "--port",
        "9",
        "--print-config",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert yaml.safe_load(done.stdout)["port"] == 9


def test_a_bad_setting_is_one_line_and_exit_code_two() -> None:
    command = [sys.executable, "-m", "reward_server", "--model", "x", "--set", "prot=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "reward-server: flags: prot: Extra inputs are not permitted\n"
    assert done.stdout == ""
