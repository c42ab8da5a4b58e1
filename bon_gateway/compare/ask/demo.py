"""``--embedded``: the gateway on its demo models in this process, and a comparison with itself.

The gateway runs in a thread with an event loop of its own and is asked over a real socket, like any
other. It shares process, cores and interpreter with the measurement, so its latencies show the
picture and decide nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bon_common.settings.errors import SettingsError
from bon_gateway import demo_models
from bon_gateway.settings.tree import Settings

SIZES = (1, 2, 4, 8)
TUNED_N = 4
"""Best-of-4 of each tuned policy is an arm too where a whole demo run is compared."""
READY_WITHIN_S = 120.0
SAMPLING = {"temperature": 1.0, "max_tokens": 64}
PROMPTS = Path(__file__).with_name("demo_prompts.jsonl")
PRICES = {
    "currency": "USD",
    "policy": {"hour": 2.0, "input_tokens_per_s": 20000.0, "output_tokens_per_s": 2000.0},
    "reward": {"hour": 2.0, "input_tokens_per_s": 20000.0},
}
"""Made up: a rented GPU with a model of usual size on it, not what the demo models take."""
HOUR = 2.0
"""Money for an hour of training; made up as well."""
STEPS = {"dpo": ("pairs", "dpo"), "ppo": ("ppo",)}
"""The steps of a demo run that make each tuned policy, without those that best-of-N needs too."""
GOLD = {"hook": {"function": "trainers.demo.gold:gold", "field": "total"}}
"""The truth of the demo world, by which nothing was chosen."""


@dataclass(frozen=True)
class Models:
    """The folders of the models to run."""

    policy: Path
    reward: Path
    tuned: Mapping[str, Path]
    run: Path | None = None
    """The output folder of ``bon-train demo-train`` that made them."""


def shipped(tuned: Mapping[str, Path]) -> Models:
    """The demo models of the package. Raises SettingsError for a tuned policy that is not there."""
    for name, folder in tuned.items():
        if not (folder / "config.json").is_file():
            raise SettingsError("--tuned", name, f"{folder} is no folder of a model")
    return Models(demo_models.policy_path(), demo_models.reward_path(), tuned)


def of_run(run: Path, tuned: Mapping[str, Path]) -> Models:
    """The models that ``bon-train demo-train`` made. Raises SettingsError if one is missing."""
    found = {name: run / name for name in STEPS if (run / name / "config.json").is_file()}
    for folder in (run / "policy", run / "reward"):
        if not (folder / "config.json").is_file():
            raise SettingsError("--trained", "", f"{folder} is no folder of a model")
    every = {**found, **shipped(tuned).tuned}
    return Models(run / "policy", run / "reward", every, run)


def gateway_tree(models: Models) -> dict[str, Any]:
    """The gateway's settings: the base policy, and each tuned one as a served model of its own."""
    folders = {"demo": models.policy, **models.tuned}
    return {
        "policies": {
            # Models this small lose more to a second thread's waiting than it computes.
            name: {"type": "transformers", "model": str(folder), "threads": 1}
            for name, folder in folders.items()
        },
        "rewards": {"demo": {"type": "in_process", "model": str(models.reward), "threads": 1}},
        "models": {
            name: {
                "policy": name,
                "reward": "demo",
                "strategy": {"type": "best_of_n", "n": SIZES[-1]},
            }
            for name in folders
        },
    }


def compare_tree(models: Models) -> dict[str, Any]:
    """Settings of the comparison where there is no file."""
    sizes = SIZES if models.run is None else (*SIZES, 2 * SIZES[-1])
    arms = {f"base-{n}": _arm("demo", n) for n in sizes}
    for name in models.tuned:
        arms[name] = {**_arm(name, 1), "training": name}
        if models.run is not None:
            arms[f"{name}-best-of-{TUNED_N}"] = {**_arm(name, TUNED_N), "training": name}
    tree: dict[str, Any] = {
        "arms": arms,
        "prompts": {"file": str(PROMPTS)},
        "sampling": dict(SAMPLING),
        "prices": PRICES,
        "training": {name: _training(models, name) for name in models.tuned},
        "load": {"concurrency": 2},
        "quality": {"scorers": {"gold": GOLD}, "primary": "gold"},
    }
    if models.run is not None:
        held_out = models.run / "data" / "held-out-prompts.jsonl"
        tree["prompts"] = {"file": str(held_out), "limit": 60}
    return tree


def _arm(model: str, n: int) -> dict[str, Any]:
    arm: dict[str, Any] = {"model": model, "bon": {"strategy": "best_of_n", "n": n}}
    # One answer needs no reward model; it is scored here only to have a reward.
    return arm if n > 1 else {**arm, "reward_price": {"input_per_million": 0.0}}


def _training(models: Models, name: str) -> dict[str, Any]:
    """From the run's own figures, which include the seconds of making pairs, or else from the
    trainer's records."""
    figures = None if models.run is None else models.run / "figures.json"
    if figures is not None and figures.is_file() and name in STEPS:
        return {"figures": str(figures), "steps": list(STEPS[name]), "hour": HOUR}
    return {"records": [str(models.tuned[name])], "hour": HOUR}


@contextmanager
def running(models: Models) -> Iterator[str]:
    """The address of the gateway, which is ready. Raises SettingsError if it does not start."""
    import uvicorn

    from bon_common.listening import bind
    from bon_gateway.app import create_app

    app = create_app(Settings.model_validate(gateway_tree(models)))
    # In a thread uvicorn takes no signals: they end the comparison, which then ends the server.
    server = uvicorn.Server(
        uvicorn.Config(
            app, interface="asgi3", log_config=None, access_log=False, lifespan="on", ws="none"
        )
    )
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            give_up = time.monotonic() + READY_WITHIN_S
            while not (server.started and app.state.gateway.ready()):
                if not thread.is_alive() or time.monotonic() > give_up:
                    reason = "the gateway on the demo models did not start"
                    raise SettingsError("--embedded", "", reason)
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


def parse_tuned(pairs: Sequence[str]) -> dict[str, Path]:
    """``name=folder``. Raises SettingsError."""
    tuned = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder):
            raise SettingsError("--tuned", pair, "expected NAME=FOLDER")
        tuned[name] = Path(folder)
    return tuned
