from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import Override
from bon_gateway.backends.policy.vllm.policy import VllmPolicySettings
from bon_gateway.settings import demo
from bon_gateway.settings.loader import load
from bon_gateway.settings.tree import Settings

FILE = """
policies:
  base: &base {type: vllm, urls: [http://127.0.0.1:9], model: m}
  Other-1.5: *base
rewards:
  helpful: {type: reward_server, urls: [http://127.0.0.1:9]}
models:
  assistant: {policy: base, reward: helpful, strategy: {type: best_of_n, n: 4}}
server: {port: 1000}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(FILE)
    return path


def policy(settings: Settings, name: str) -> VllmPolicySettings:
    found = settings.policies[name]
    assert isinstance(found, VllmPolicySettings)
    return found


def flag(key: str, value: object) -> Override:
    return ("--set", key, value)


def failure(
    config: Path | None, environ: dict[str, str] | None = None, *overrides: Override
) -> tuple[str, str, str]:
    with pytest.raises(SettingsError) as caught:
        load(config, environ or {}, overrides)
    error = caught.value
    return error.source, error.key, error.reason


def test_flags_win_over_the_environment_and_that_over_the_file(config: Path) -> None:
    environ = {"BON_GATEWAY__SERVER__PORT": "2000", "BON_GATEWAY__SERVER__WORKERS": "3"}
    assert load(config, {}).server.port == 1000
    assert load(config, environ).server.port == 2000
    both = load(config, environ, [flag("server.port", 3000)])
    assert (both.server.port, both.server.workers) == (3000, 3)


def test_the_environment_reaches_names_and_reads_yaml(config: Path) -> None:
    environ = {
        "BON_GATEWAY__POLICIES__OTHER-1.5__MODEL": "other",
        "BON_GATEWAY__models__Tuned": "{policy: base, strategy: {type: single}}",
        "BON_GATEWAY__POLICIES__BASE__URLS": "[http://a, http://b]",
        "BON_GATEWAY__AUTH__KEYS_FILE": "",
        "BON_GATEWAY_API_KEYS": "not: a setting",
    }
    settings = load(config, environ)
    assert policy(settings, "Other-1.5").model == "other"
    assert policy(settings, "base").model == "m"
    assert policy(settings, "base").urls == ("http://a", "http://b")
    assert settings.models["tuned"].strategy.type == "single"
    assert settings.auth.keys_file is None


def test_a_flag_reaches_a_name_with_dots(config: Path) -> None:
    settings = load(config, {}, [flag("policies.Other-1.5.model", "other")])
    assert policy(settings, "Other-1.5").model == "other"


def test_without_models_the_embedded_default_is_taken() -> None:
    settings = load(None, {"BON_GATEWAY__LIMITS__MAX_N": "16"}, [flag("server.port", 0)])
    assert list(settings.models) == ["demo", "demo-first-k", "demo-single"]
    assert (settings.limits.max_n, settings.server.port) == (16, 0)
    assert demo.in_use(settings)


def test_a_file_without_models_takes_it_too_and_one_with_some_does_not(
    config: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing yet\n")
    assert demo.in_use(load(empty, {}))
    assert not demo.in_use(load(config, {}))


@pytest.mark.parametrize(
    "environ", [{}, {"BON_GATEWAY__MODELS__DEMO-SINGLE__POLICY": "demo"}], ids=["flags", "both"]
)
def test_parts_of_the_embedded_default_can_be_changed(environ: dict[str, str]) -> None:
    flags = [flag("policies.demo.threads", 3), flag("models.demo.strategy.n", 5)]
    settings = load(None, environ, flags)
    assert demo.in_use(settings) == "toy"
    assert settings.policies["demo"].model_dump()["threads"] == 3
    assert settings.models["demo"].strategy.drawn == 5
    assert settings.models["demo-first-k"].strategy.drawn == 10


def test_a_section_that_a_flag_empties_is_the_default_s() -> None:
    assert load(None, {}, [flag("policies", {}), flag("models", None)]) == load(None, {})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("policies.demo", {"type": "vllm", "urls": ["http://localhost:8000"]}),
        ("policies.demo.type", "vllm"),
        ("policies.demos.threads", 3),
        ("policies.demo", 3),
        ("policies", [1]),
    ],
)
def test_what_is_no_part_of_the_default_is_one_s_own(key: str, value: object) -> None:
    source, _, _ = failure(None, {}, flag(key, value))
    assert source != "embedded default"


def test_the_default_is_to_blame_for_what_is_wrong_with_it() -> None:
    source, key, reason = failure(None, {}, flag("limits.max_n", 9))
    assert (source, key) == ("embedded default", "models.demo-first-k.strategy")
    assert "10 candidates" in reason


@pytest.mark.parametrize(
    ("key", "value", "at", "reason"),
    [
        ("limits.max_nn", 1, None, "unknown key; did you mean 'max_n'?"),
        ("polices", {}, None, "unknown key; did you mean 'policies'?"),
        ("policies.base.url", 1, None, "unknown key; did you mean 'urls'?"),
        ("policies.base.zzz", 1, None, "unknown key; known: api_key_env, ca_file, cache, "),
        ("models.assistant.strategy.spare", 1, None, "unknown key; known: deadline_ms"),
        ("server.port", "abc", None, "should be a whole number, not 'abc'"),
        ("server.port", 70000, None, "should be less than or equal to 65535, not 70000"),
        ("server.access_log", "maybe", None, "should be true or false, not 'maybe'"),
        ("server.log_level", "loud", None, "should be 'debug', 'info', 'warning' or 'error'"),
        ("server", 5, None, "should be a mapping, not 5"),
        ("models", 5, None, "should be a mapping, not 5"),
        ("policies.base", 5, None, "should be a mapping, not 5"),
        ("policies.base.urls", "http://x", None, "should be a list, not 'http://x'"),
        ("policies.base.urls", [], None, "should have at least one entry"),
        (
            "policies.base.urls",
            ["http://me:secret@h h"],
            "policies.base.urls.0",
            "should be an address such as http://host:port, not 'http://***@h h'",
        ),
        ("policies.base.resolve", "dns", None, "should be 'host' or 'addresses', not 'dns'"),
        ("policies.base.session_header", "a b", None, "should be the name of an HTTP header"),
        ("policies.base.session_header", "Host", None, "'Host' already has a meaning in a call"),
        ("rewards.helpful.resolve_interval_s", 0, None, "should be greater than 0, not 0"),
        ("policies.base.type", "vlm", None, "unknown type 'vlm'; known: vllm, transformers"),
        (
            "policies.new",
            {},
            "policies.new.type",
            "is required; known: vllm, transformers, variants",
        ),
        ("policies.new.type", "vllm", "policies.new.urls", "is required"),
        (
            "models.assistant.strategy.type",
            "best",
            None,
            (
                "unknown type 'best'; known: best_of_n, first_k, adaptive, pruning, good_enough,"
                " cascade, soft, pessimistic, mbr, poisson, majority, weighted_vote,"
                " majority_of_the_bests,"
                " confidence, borda, single"
            ),
        ),
        (
            "models.assistant.strategy.min_candidates",
            9,
            "models.assistant.strategy",
            "min_candidates (9) is above n (4)",
        ),
        (
            "rewards.both",
            {"type": "ensemble", "members": [{"reward": "helpful"}, {"reward": "safe"}]},
            "rewards.both.members.1.reward",
            "no reward with a model of its own is named 'safe'",
        ),
        (
            "rewards.both",
            {"type": "ensemble", "members": [{"reward": "both"}, {"reward": "helpful"}]},
            "rewards.both.members.0.reward",
            "no reward with a model of its own is named 'both'",
        ),
        (
            "rewards.both",
            {"type": "ensemble", "members": [{"reward": "helpful"}, {"reward": "helpful"}]},
            None,
            "members: 'helpful' is there twice; give it a weight instead",
        ),
        (
            "rewards.both",
            {"type": "ensemble", "members": []},
            "rewards.both.members",
            "should have at least one entry",
        ),
        (
            "rewards.both",
            {"type": "ensemble", "members": [{"reward": "a", "wieght": 2}, {"reward": "b"}]},
            "rewards.both.members.0.wieght",
            "unknown key; did you mean 'weight'?",
        ),
        ("rewards.both", {"type": "ensemble"}, "rewards.both.members", "is required"),
        (
            "rewards.helpful.length_calibration",
            {},
            "rewards.helpful.length_calibration.slope",
            "is required",
        ),
        (
            "models.assistant.strategy",
            {"type": "mbr", "beta": -1},
            "models.assistant.strategy.beta",
            "should be greater than or equal to 0, not -1",
        ),
        (
            "models.assistant.strategy",
            {"type": "mbr", "similarity": {"type": "bleu"}},
            "models.assistant.strategy.similarity.type",
            "unknown type 'bleu'; known: ngrams, hook, embedder",
        ),
        (
            "models.assistant.strategy",
            {"type": "mbr", "similarity": {"type": "embedder", "embedder": "e5"}},
            "models.assistant.strategy.similarity.embedder",
            "no embedder is named 'e5'",
        ),
        (
            "models.assistant.strategy",
            {"type": "borda", "extract": {"type": "semantic", "embedder": "e5", "threshold": 0.9}},
            "models.assistant.strategy.extract.embedder",
            "no embedder is named 'e5'",
        ),
        (
            "embedders.e5",
            {"type": "embeddings", "urls": ["http://h"], "health_path": "ready"},
            "embedders.e5.health_path",
            "should",
        ),
        (
            "models.assistant.strategy",
            {"type": "majority", "extract": {"type": "box"}},
            "models.assistant.strategy.extract.type",
            "unknown type 'box'; known: last_number, boxed, json_field",
        ),
        (
            "models.assistant.strategy",
            {"type": "majority", "extract": {"type": "json_field", "field": "a..b"}},
            "models.assistant.strategy.extract.field",
            "should be a dotted field such as result.answer",
        ),
        (
            "models.assistant.strategy",
            {"type": "majority", "extract": {"type": "regex", "pattern": "("}},
            "models.assistant.strategy.extract.pattern",
            "'(' is not a regular expression: missing )",
        ),
        (
            "models.assistant.strategy",
            {"type": "weighted_vote", "reward_temperature": 0},
            "models.assistant.strategy.reward_temperature",
            "should be greater than 0",
        ),
        (
            "models.assistant.strategy",
            {"type": "confidence", "signal": {"type": "entropy"}},
            "models.assistant.strategy.signal.type",
            "unknown type 'entropy'; known: mean_logprob, self_certainty, lowest_group",
        ),
        ("models.assistant.policy", "bas", None, "no policy is named 'bas'"),
        ("models.assistant.reward", "bas", None, "no reward is named 'bas'"),
        ("models.assistant.reward", None, None, "strategy best_of_n needs a reward"),
        ("limits.max_candidates", 1, None, "must not be below limits.max_n"),
        (
            "limits.max_candidates_per_key",
            3,
            None,
            "must not be below the 4 candidates that models.assistant draws",
        ),
        (
            "limits.max_tokens_per_request",
            3,
            None,
            "must not be below the 4 candidates that models.assistant draws",
        ),
        (
            "limits.tokens_per_key",
            3,
            None,
            "must not be below the 4 candidates that models.assistant draws",
        ),
        ("server.port.x", 1, None, "server.port is not a mapping"),
        ("server..port", 1, None, "a part of the key is empty"),
    ],
)
def test_each_problem_is_named(
    config: Path, key: str, value: object, at: str | None, reason: str
) -> None:
    source, found, told = failure(config, {}, flag(key, value))
    assert found == (at or key)
    assert told.startswith(reason)
    assert source == "--set"


def test_the_source_is_the_one_that_set_the_key(config: Path) -> None:
    environ = {"BON_GATEWAY__SERVER__PORT": "x", "BON_GATEWAY__SERVER__HOST": "h"}
    assert failure(config, environ)[0] == "environment BON_GATEWAY__SERVER__PORT"
    assert failure(config, environ, ("--port", "server.port", "y"))[0] == "--port"
    config.write_text(FILE.replace("policy: base", "policy: none"))
    assert failure(config)[0] == str(config)


def test_a_value_of_the_environment_that_is_not_yaml_is_named(config: Path) -> None:
    source, key, reason = failure(config, {"BON_GATEWAY__SERVER__PORT": "[1"})
    assert (source, key) == ("environment BON_GATEWAY__SERVER__PORT", "server.port")
    assert reason.startswith("not YAML: line 1: ")


def test_an_unknown_key_comes_before_what_it_made_missing(config: Path) -> None:
    config.write_text(FILE.replace("policies:", "polices:"))
    assert failure(config) == (str(config), "polices", "unknown key; did you mean 'policies'?")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: 2\na: 3\n", "not YAML: line 3: the key 'a' is there twice"),
        ("models:\n  a: 1\n  a: 2\n", "not YAML: line 3: the key 'a' is there twice"),
        ("models: {1: 2}\n", "not YAML: line 1: the key 1 is no text; put it in quotes"),
        ("a: [1\nb: 2\n", "not YAML: line 2: "),
        ("a: !!python/object:os.system {}\n", "not YAML: line 1: could not determine"),
        ("- a\n", "should be a mapping"),
        ("a: \x00", "not YAML: "),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    source, key, told = failure(path)
    assert (source, key) == (str(path), "")
    assert told.startswith(reason)
    assert "\n" not in told


def test_a_merged_key_may_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "merged.yaml"
    path.write_text(FILE.replace("*base", "{<<: *base, model: other}"))
    assert policy(load(path, {}), "Other-1.5").model == "other"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert failure(missing) == (str(missing), "", "cannot be read: No such file or directory")
    assert failure(tmp_path)[2] == "cannot be read: Is a directory"
    assert failure(binary)[2] == "cannot be read: it is not UTF-8 text"


@pytest.mark.parametrize(
    "url",
    [
        "http://h:99999",
        "http://h:0",
        "http://h:port",
        "http://:80",
        "http://[::1/x",
        "http://[zz]:1",
        "http://h?api_key=secret",
        "http://h/v1?api_key=secret",
        "http://h/v1#secret",
        "http://me:secret@:80",
        "http://me:secret/x@h:1/",
        "http://me:1/secret @h",
        "http://h\\\\x",
        "ftp://me:secret@h",
        "me:secret@h",
        "h?api_key=secret",
        "http://h/a b",
        "http://h/\x7f",
    ],
)
def test_an_address_that_cannot_be_asked_is_refused_and_its_secrets_not_shown(
    config: Path, url: str
) -> None:
    _, key, reason = failure(config, {}, flag("policies.base.urls", [url]))
    assert key == "policies.base.urls.0"
    assert "secret" not in reason


@pytest.mark.parametrize(
    "url",
    ["http://h", "https://h:1/v1/", "http://[::1]:80/x", "http://u:p%40@h", "http://bücher.de"],
)
def test_an_address_that_can_be_asked_is_taken(config: Path, url: str) -> None:
    settings = load(config, {}, [flag("policies.base.urls", [url])])
    assert policy(settings, "base").urls == (url,)


@pytest.mark.parametrize(
    "key",
    ["server.drain_grace_s", "server.drain_delay_s", "server.keepalive_s"]
    + [f"policies.base.{key}_s" for key in ("timeout", "connect_timeout", "probe_interval")],
)
@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1.0e+300", "-1", "x", "[]", "{}"])
def test_a_time_that_no_clock_has_is_refused(config: Path, key: str, value: str) -> None:
    variable = "BON_GATEWAY__" + key.upper().replace(".", "__")
    assert failure(config, {variable: value})[1] == key


KEYS = [
    f"{section}.{key}"
    for section in ("server", "auth", "limits", "recording")
    for key in type(Settings.model_fields[section].default).model_fields
] + [
    *(f"policies.base.{key}" for key in ("type", "urls", "resolve", "timeout_s", "api_key_env")),
    *("policies", "policies.base", "rewards.helpful", "models.assistant", "server", "auth"),
    *("models.assistant.strategy", "models.assistant.strategy.n", "rewards.helpful.urls"),
]
WORDS = ["", " ", "0", "-1", "99999", "1e999", "x", "http://:80", "http://[", "vllm", "\ud800", "*"]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(WORDS), st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.tuples(st.sampled_from(KEYS), VALUES), min_size=1, max_size=3))
@hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300
)
def test_whatever_a_key_is_set_to_the_settings_stand_or_say_one_line(
    config: Path, overrides: list[tuple[str, object]]
) -> None:
    blamed = "nothing"
    try:
        settings = load(config, {}, [flag(key, value) for key, value in overrides])
        assert Settings.model_validate(settings.model_dump()) == settings
    except SettingsError as error:
        blamed = error.key
    assert blamed
