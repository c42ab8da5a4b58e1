"""`bon-gateway compare` on real vLLM engines: best-of-N of the base policy against tuned ones.

Each policy has an engine of its own, the reward model a reward server, and one gateway serves them
all. ``--trained`` is the output folder of ``make demo-train``, ``--study`` that of ``make
real-study``; without them the shipped demo policy is compared with itself at several N.
``--vllm-python`` is an interpreter with vLLM (BON_VLLM_PYTHON); ``--engines`` are engines of the
shipped models that run already. Prices are made up, as those of ``compare --embedded`` are.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from engines import rewards, started, vllm
from load import end_on_sigterm, gateway
from overhead import free_port
from real_study.layout import POOL_TEMPERATURE, TUNED, WHOLE

from bon_gateway.compare.ask.demo import Models, compare_tree, of_run, shipped

CONTEXT = 512
SIZES = (1, 4, 8)
REWARD = "demo"
REWARD_SERVER = "reward-server"
TRUTH = {"hook": {"function": "trainers.tasks.gold:correct"}}
"""Of the study's prompts: 1 for a right answer, else 0."""


@contextlib.contextmanager
def engines(python: str, models: Models) -> Iterator[tuple[Mapping[str, str], str]]:
    """The address of each policy's engine, and that of the reward server."""
    policies = {"demo": models.policy, **models.tuned}
    wanted = {name: vllm(python, model, CONTEXT) for name, model in policies.items()}
    wanted[REWARD_SERVER] = rewards(models.reward)
    with tempfile.TemporaryDirectory() as logs, started(wanted, Path(logs)) as urls:
        reward = urls.pop(REWARD_SERVER)
        yield urls, reward


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


def of_study(folder: Path) -> Models:
    """The models of a study: the base is its fine-tuned policy."""
    tuned = {name: folder / name for name in TUNED if (folder / name / "config.json").is_file()}
    return Models(folder / "sft", folder / "reward", tuned)


def comparison(models: Models, url: str, options: argparse.Namespace) -> dict[str, Any]:
    """What ``--embedded`` would ask, of this gateway instead; of a study, its held-out prompts."""
    tree = compare_tree(models)
    if options.study is not None:
        tree["prompts"] = {"file": str(options.study / "tasks" / "held-out.jsonl")}
        tree["sampling"] = {"temperature": POOL_TEMPERATURE, "max_tokens": WHOLE.max_tokens}
        tree["quality"] = {"scorers": {"truth": TRUTH}, "primary": "truth"}
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
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--trained", type=Path, help="output folder of make demo-train")
    source.add_argument("--study", type=Path, help="output folder of make real-study")
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/compare-vllm"))
    source.add_argument(
        "--engines",
        nargs=2,
        metavar=("GENERATOR", "REWARD_SERVER"),
        help="addresses of engines of the shipped models",
    )
    parser.add_argument("--smoke", action="store_true", help="four prompts, in a folder that goes")
    options = parser.parse_args()
    if options.vllm_python is None and options.engines is None:
        parser.error("--vllm-python or BON_VLLM_PYTHON must name an interpreter with vLLM")
    end_on_sigterm()
    if options.study is not None:
        models = of_study(options.study)
    elif options.trained is not None:
        models = of_run(options.trained, {})
    else:
        models = shipped({})
    given = None
    if options.engines is not None:
        generator, reward_server = options.engines
        given = contextlib.nullcontext(({"demo": generator}, reward_server))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.smoke:
            options.prompts, options.output = 4, folder / "compared"
        with given or engines(options.vllm_python, models) as (policies, reward):
            config = folder / "gateway.yaml"
            config.write_text(yaml.safe_dump(gateway_settings(policies, reward)))
            with gateway(config, free_port(), folder / "gateway.log") as (url, _):
                asked = folder / "compare.yaml"
                asked.write_text(yaml.safe_dump(comparison(models, url, options)))
                command = [sys.executable, "-m", "bon_gateway", "compare", "--restart"]
                return subprocess.run([*command, "--config", str(asked)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
