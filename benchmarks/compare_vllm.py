"""`bon-gateway compare` on real vLLM engines: best-of-N of the base policy against tuned ones.

Each policy has an engine of its own, the reward model a reward server, and one gateway serves them
all. ``--trained`` is the output folder of ``make demo-train``; without it the shipped demo policy
is compared with itself at several N. ``--vllm-python`` is an interpreter with vLLM
(BON_VLLM_PYTHON). Prices are made up, as those of ``compare --embedded`` are.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from engines import process, vllm_command
from load import end_on_sigterm, gateway, wait_ready
from overhead import free_port

from bon_gateway.compare.embedded import Models, compare_tree, of_run, shipped

CONTEXT = 512
SIZES = (1, 4, 8)
REWARD = "demo"


@contextlib.contextmanager
def engines(python: str, models: Models, folder: Path) -> Iterator[tuple[Mapping[str, str], str]]:
    """The address of each policy's engine, and that of the reward server."""
    with contextlib.ExitStack() as stack:

        def start(name: str, command: list[str], port: int, health: str) -> str:
            url = f"http://127.0.0.1:{port}"
            print(f"starting {name} ...", flush=True)
            started = stack.enter_context(process(command, folder / f"{name}.log"))
            # One after another: two vLLM boots on one small machine slow each other down.
            asyncio.run(wait_ready(url + health, started))
            return url

        policies = {}
        for name, model in {"demo": models.policy, **models.tuned}.items():
            port = free_port()
            policies[name] = start(
                f"vllm-{name}", vllm_command(python, model, port, CONTEXT), port, "/health"
            )
        port = free_port()
        command = [
            sys.executable, "-m", "reward_server", "--model", str(models.reward),
            "--port", str(port), "--set", "torch_threads=1",
        ]  # fmt: skip
        yield policies, start("reward-server", command, port, "/readyz")


def gateway_settings(policies: Mapping[str, str], reward: str) -> dict[str, Any]:
    return {
        "policies": {name: {"type": "vllm", "urls": [url]} for name, url in policies.items()},
        "rewards": {REWARD: {"type": "reward_server", "urls": [reward]}},
        "models": {
            name: {"policy": name, "strategy": {"type": "single"}}
            if name != "demo"
            else {
                "policy": name,
                "reward": REWARD,
                "strategy": {"type": "best_of_n", "n": max(SIZES)},
            }
            for name in policies
        },
    }


def comparison(models: Models, url: str, options: argparse.Namespace) -> dict[str, Any]:
    """What ``--embedded`` would ask, of this gateway instead."""
    tree = compare_tree(models)
    arms = {f"base-{n}": tree["arms"][f"base-{n}"] for n in SIZES}
    for name in models.tuned:
        arms[name] = {"model": name, "training": name}
    tree["arms"] = {name: {**arm, "url": url} for name, arm in arms.items()}
    tree["prompts"]["limit"] = options.prompts
    tree["load"] = {"concurrency": options.clients, "repeats": options.repeats}
    tree["output"] = str(options.output)
    return tree


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm-python", default=os.environ.get("BON_VLLM_PYTHON"))
    parser.add_argument("--trained", type=Path, help="output folder of make demo-train")
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/compare-vllm"))
    parser.add_argument("--smoke", action="store_true", help="four prompts, in a folder that goes")
    options = parser.parse_args()
    if options.vllm_python is None:
        parser.error("--vllm-python or BON_VLLM_PYTHON must name an interpreter with vLLM")
    end_on_sigterm()
    models = shipped({}) if options.trained is None else of_run(options.trained, {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.smoke:
            options.prompts, options.output = 4, folder / "compared"
        with engines(options.vllm_python, models, folder) as (policies, reward):
            config = folder / "gateway.yaml"
            config.write_text(yaml.safe_dump(gateway_settings(policies, reward)))
            with gateway(config, free_port(), folder / "gateway.log") as (url, _):
                asked = folder / "compare.yaml"
                asked.write_text(yaml.safe_dump(comparison(models, url, options)))
                command = [sys.executable, "-m", "bon_gateway", "compare", "--restart"]
                return subprocess.run([*command, "--config", str(asked)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
