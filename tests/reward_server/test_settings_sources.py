from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import as_yaml
from reward_server.settings_sources import KEYS_VARIABLE, resolve


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
        (
            ["--model", "x", "--port", "many"],
            {},
            "--port: port: should be a whole number, not 'many'",
        ),
        (
            ["--model", "x", "--set", "prot=1"],
            {},
            "--set: prot: unknown key; did you mean 'port'?",
        ),
        (["--model", "x", "--set", "port"], {}, "--set: port: expected KEY=VALUE"),
        (["--model", "x", "--prot", "1"], {}, "flags: unrecognized arguments"),
        (["--model", "x", "--label-weights", "{"], {}, "--label-weights: label_weights: not YAML"),
        (
            ["--model", "x", "--label-weights", "{a: much}"],
            {},
            "--label-weights: label_weights.a: should be a number, not 'much'",
        ),
        (["--model", "x", "--set", "api_keys=a:b"], {}, "--set: api_keys: secrets"),
        (
            [],
            {"REWARD_SERVER_PROT": "1"},
            "environment REWARD_SERVER_PROT: prot: unknown key; did you mean 'port'?",
        ),
        (
            ["--set", "torch_threads=1"],
            {},
            "--set: torch_threads: unknown key; did you mean 'threads'?",
        ),
        (
            ["--set", "models={a: {type: modle}}"],
            {},
            "--set: models.a.type: unknown type 'modle'; known: model, ensemble",
        ),
        (
            ["--model", "x"],
            {"REWARD_SERVER_PORT": "tcp://10.0.0.1:8081"},
            "environment REWARD_SERVER_PORT: port: written by a Kubernetes service",
        ),
        (["--config", "missing.yaml"], {}, "missing.yaml: cannot be read: No such file"),
        (["--model", "x", "--port", "99999"], {}, "--port: port: should be less than"),
        (["--model", "x", "--drain-grace-s", "inf"], {}, "--drain-grace-s: drain_grace_s: "),
        (["--model", "x", "--prefix-life-s", "nan"], {}, "--prefix-life-s: prefix_life_s: "),
        (["--set", "models=&a {b: *a}"], {}, "--set: models: not YAML: line 1: it holds itself"),
        (
            ["--set", "models={a: {modle: x}}"],
            {},
            "--set: models.a.modle: unknown key; did you mean 'model'?",
        ),
        (
            ["--model", "x", "--set", "models={a: {model: x}}"],
            {},
            "--model: model: name either one",
        ),
        (
            ["--set", "models={a: {model: x}, b: {type: ensemble, members: [a, c]}}"],
            {},
            "--set: models.b.members: 'c' is not a model of this server",
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
    "text",
    [
        "port: 1\nport: 2\n",
        "- a\n",
        "a: &a {b: *a}\n",
        "a: [\n",
        "1: 2\n",
        "api_keys: {a: b}\n",
        "prot: 1\n",
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    with pytest.raises(SettingsError) as caught:
        resolve(["--config", str(config), "--model", "x"], {})
    assert str(caught.value).startswith(f"{config}: ")


def test_api_keys_are_no_settings_and_never_shown() -> None:
    settings = resolve(["--model", "x"], {KEYS_VARIABLE: "ann:hunter2"}).settings
    assert "hunter2" not in as_yaml(settings)


def test_one_key_of_a_model_can_be_set(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("models: {a.b: {model: x}, c: {model: y}}")
    argv, variable = ["--config", str(config)], "REWARD_SERVER_MODELS__C__DTYPE"
    settings = resolve([*argv, "--set", "models.a.b.max_tokens=9"], {variable: "float16"}).settings
    assert settings.models["a.b"].max_tokens == 9  # type: ignore[union-attr]
    assert settings.models["c"].dtype == "float16"  # type: ignore[union-attr]
    with pytest.raises(SettingsError, match=f"environment {variable}S: models.c.dtypes: unknown"):
        resolve(argv, {f"{variable}S": "float16"})


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
    assert done.stderr == "reward-server: --set: prot: unknown key; did you mean 'port'?\n"
    assert done.stdout == ""
