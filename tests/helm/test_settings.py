"""What is rendered is understood by what reads it: settings files and command lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bon_gateway import cli as gateway_cli
from bon_gateway.backends.policy.vllm.policy import VllmPolicySettings
from bon_gateway.backends.reward.reward_server import RewardServerSettings
from bon_gateway.settings.loader import load
from bon_gateway.settings.tree import Settings
from reward_server.settings_sources import resolve
from tests.helm.kit import (
    ALL_CASES,
    NAMESPACE,
    RELEASE,
    Object,
    case,
    gateway_config,
    laid_over,
    named,
    of_kind,
    pod_templates,
    render,
)
from tests.vllm_forks import VllmForks
from trainers import cli as trainer_cli
from trainers.base.settings import load_settings
from trainers.commands import COMMANDS

PREFIX = f"{RELEASE}-bon-gateway"
PARSE_VLLM = """
import json, sys
from vllm.entrypoints.cli.serve import cmd_init
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
commands = parser.add_subparsers(dest="subparser")
for command in cmd_init():
    command.subparser_init(commands)
parsed = parser.parse_args(sys.argv[1:])
wanted = ("model_tag", "revision", "served_model_name", "host", "port", "tensor_parallel_size",
          "max_model_len", "enable_prefix_caching", "enforce_eager")
print(json.dumps({key: getattr(parsed, key) for key in wanted}))
"""


def gateway_settings(objects: list[Object], tmp_path: Path, suffix: str = "gateway") -> Settings:
    config = tmp_path / f"{suffix}.yaml"
    config.write_text(gateway_config(objects, suffix), encoding="utf-8")
    return load(config, {})


def files(objects: list[Object], template: Object, tmp_path: Path) -> dict[str, Path]:
    """The files that a pod's ConfigMaps put there, by the path that it sees."""
    (container,) = template["spec"]["containers"]
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    found = {}
    for volume in template["spec"]["volumes"]:
        if "configMap" in volume:
            name = volume["configMap"]["name"]
            for key, text in named(objects, "ConfigMap", name)["data"].items():
                path = tmp_path / f"{name}-{key}"
                path.write_text(text, encoding="utf-8")
                found[f"{paths[volume['name']]}/{key}"] = path
    return found


def arguments(template: Object, files: dict[str, Path]) -> list[str]:
    """A container's arguments, with the files of this machine in them."""
    (container,) = template["spec"]["containers"]
    return [str(files.get(argument, argument)) for argument in container["args"]]


@pytest.mark.parametrize("name", ALL_CASES)
def test_the_gateway_takes_its_settings(name: str, tmp_path: Path) -> None:
    objects = render(case(name))
    for _, template in pod_templates(objects):
        (container,) = template["spec"]["containers"]
        if container["name"] != "gateway":
            continue
        seen = files(objects, template, tmp_path)
        parsed = gateway_cli._parser().parse_args(arguments(template, seen))
        assert parsed.command == "serve"
        settings = load(parsed.config, {})
        (port,) = container["ports"]
        assert port["containerPort"] == settings.server.port
        assert settings.server.host == "0.0.0.0"
        grace = template["spec"]["terminationGracePeriodSeconds"]
        assert grace > settings.server.drain_delay_s + settings.server.drain_grace_s
        # Every variable that the settings name is in the pod, out of a Secret.
        env = {variable["name"]: variable for variable in container["env"]}
        for upstream in [*settings.policies.values(), *settings.rewards.values()]:
            variable = getattr(upstream, "api_key_env", None)
            assert variable is None or "secretKeyRef" in env[variable]["valueFrom"]


def test_generators_and_reward_servers_become_policies_and_rewards(tmp_path: Path) -> None:
    settings = gateway_settings(render(case("everything")), tmp_path)
    base = settings.policies["base"]
    assert isinstance(base, VllmPolicySettings)
    assert base.urls == (f"http://{PREFIX}-generator-base:8000",)
    assert (base.resolve, base.model, base.revision) == ("addresses", "base", "main")
    assert base.api_key_env == "BON_UPSTREAM_GENERATOR_BASE_KEY"
    helpful = settings.rewards["helpful"]
    assert isinstance(helpful, RewardServerSettings)
    assert helpful.urls == (f"http://{PREFIX}-reward-helpful:8081",)
    assert helpful.resolve == "addresses"
    assert set(settings.policies) == {"base", "tuned", "elsewhere", "mix"}
    assert settings.composed_policies["mix"].asks == ("base", "elsewhere")


def test_a_mix_has_no_time_of_its_own(tmp_path: Path) -> None:
    policies = {
        "qwen": {"timeout_s": 7},
        "mix": {"type": "variants", "of": [{"policy": "qwen"}]},
    }
    values = laid_over(case("minimal"), {"gateway": {"settings": {"policies": policies}}})
    assert gateway_settings(render(values), tmp_path).server.drain_grace_s == 7 + 60


@pytest.mark.parametrize(
    ("claim", "volume"),
    [
        ("learnt", {"persistentVolumeClaim": {"claimName": "learnt"}}),
        ("", {"emptyDir": {"sizeLimit": "64Mi"}}),
    ],
)
def test_all_pods_share_what_they_have_learnt(claim: str, volume: dict[str, Any]) -> None:
    values = laid_over(
        case("two-gpus"),
        {"gateway": {"historyVolume": {"existingClaim": claim}}},
    )
    pod = named(render(values), "Deployment", f"{PREFIX}-gateway")["spec"]["template"]["spec"]
    assert {"name": "history", **volume} in pod["volumes"]
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "history"]
    # Without a folder of its own for each pod.
    assert mount == {"name": "history", "mountPath": "/var/lib/bon-gateway/history"}


def test_the_second_gateway_differs_in_its_models_alone(tmp_path: Path) -> None:
    objects = render(case("tuned"))
    first = gateway_settings(objects, tmp_path)
    second = gateway_settings(objects, tmp_path, "gateway-rollout")
    assert first.models["assistant"].strategy.type == "best_of_n"
    assert second.models["assistant"].strategy.type == "single"
    assert second.models["assistant"].policy == "tuned"
    assert second.models["assistant-tuned"] == first.models["assistant-tuned"]
    assert second.model_copy(update={"models": first.models}) == first


def test_large_numbers_stay_whole(tmp_path: Path) -> None:
    limits = {"max_body_bytes": 1_000_000, "max_candidates": 100_000_000}
    values = laid_over(case("minimal"), {"gateway": {"settings": {"limits": limits}}})
    settings = gateway_settings(render(values), tmp_path)
    assert settings.limits.max_body_bytes == 1_000_000
    assert settings.limits.max_candidates == 100_000_000


@pytest.mark.parametrize("name", ALL_CASES)
def test_reward_servers_take_their_settings(name: str, tmp_path: Path) -> None:
    objects = render(case(name))
    for _, template in pod_templates(objects):
        (container,) = template["spec"]["containers"]
        if container["name"] != "reward-server":
            continue
        taken = resolve(arguments(template, files(objects, template, tmp_path)), {}).settings
        assert taken.host == "0.0.0.0"
        assert taken.port == container["ports"][0]["containerPort"]
        assert template["spec"]["terminationGracePeriodSeconds"] > taken.drain_grace_s


def test_a_reward_server_s_own_settings_arrive(tmp_path: Path) -> None:
    objects = render(case("everything"))
    text = named(objects, "ConfigMap", f"{PREFIX}-reward-helpful")["data"]["config.yaml"]
    config = tmp_path / "config.yaml"
    config.write_text(text)
    taken = resolve(["--config", str(config)], {"REWARD_SERVER_API_KEYS": "gateway:key"}).settings
    assert (taken.model, taken.revision, taken.max_batch_tokens) == ("owner/reward", "main", 10**6)


@pytest.mark.parametrize("name", ["everything", "training"])
def test_trainers_take_their_settings(name: str, tmp_path: Path) -> None:
    objects = render(case(name))
    trained = 0
    for _, template in pod_templates(objects):
        (container,) = template["spec"]["containers"]
        if container["name"] != "trainer":
            continue
        parsed = trainer_cli._parser().parse_args(
            arguments(template, files(objects, template, tmp_path))
        )
        load_settings(COMMANDS[parsed.command].settings, parsed.config, [])
        assert getattr(parsed, "resume", False) == COMMANDS[parsed.command].resume
        trained += 1
    assert trained == 2


def test_the_chart_knows_which_trainers_resume() -> None:
    for name, command in COMMANDS.items():
        if name.startswith("demo-"):
            continue
        values = laid_over(
            case("minimal"),
            {"trainerDefaults": {"command": name}, "trainers": {"it": {}}},
        )
        (job,) = of_kind(render(values), "Job")
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert ("--resume" in container["args"]) == command.resume, name


@pytest.mark.parametrize("name", ["prepare", "dpo"])
def test_a_cron_job_may_replace_what_it_made(name: str) -> None:
    again = {"command": name, "overwrite": True, "schedule": "0 3 * * *"}
    values = laid_over(case("minimal"), {"trainerDefaults": again, "trainers": {"it": {}}})
    (job,) = of_kind(render(values), "CronJob")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    parsed = trainer_cli._parser().parse_args(container["args"])
    assert parsed.overwrite
    assert not getattr(parsed, "resume", False)


def vllm_arguments(values: dict[str, Any]) -> list[str]:
    objects = render(values)
    deployment = named(objects, "Deployment", f"{PREFIX}-generator-base")
    arguments: list[str] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return arguments


def test_vllm_s_flags() -> None:
    assert vllm_arguments(case("everything")) == [
        "owner/policy",
        "--served-model-name=base",
        "--host=0.0.0.0",
        "--port=8000",
        "--revision=main",
        "--tensor-parallel-size=2",
        "--enable-prefix-caching",
        "--no-enforce-eager",
        "--max-model-len=1000000",
    ]


@pytest.mark.vllm
def test_vllm_parses_its_flags(vllm: VllmForks, tmp_path: Path) -> None:
    flags = {"speculative-config": {"method": "ngram", "num_speculative_tokens": 4}}
    values = laid_over(case("everything"), {"generators": {"base": {"args": flags}}})
    program = tmp_path / "parse.py"
    program.write_text(PARSE_VLLM, "utf-8")
    done = vllm.result(program, "serve", *vllm_arguments(values))
    assert done.exit_code == 0, done.stderr[-2000:]
    parsed = yaml.safe_load(done.stdout.splitlines()[-1])
    assert parsed == {
        "model_tag": "owner/policy",
        "revision": "main",
        "served_model_name": ["base"],
        "host": "0.0.0.0",
        "port": 8000,
        "tensor_parallel_size": 2,
        "max_model_len": 1_000_000,
        "enable_prefix_caching": True,
        "enforce_eager": False,
    }


def test_namespaces_are_written_out() -> None:
    """So that what is rendered to a file goes where it was rendered for."""
    for found in render(case("everything")):
        if found["metadata"]["name"] != f"{RELEASE}-extra":
            assert found["metadata"]["namespace"] == NAMESPACE
