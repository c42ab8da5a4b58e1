"""``--embedded``: the gateway on its demo models in this process, and a comparison with itself.

The gateway runs in a thread with an event loop of its own and is asked over a real socket, as any
other would be. Process, cores and interpreter are shared with who measures, so its latencies are
for looking, not for deciding.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bon_gateway import embedded
from bon_gateway.settings import Settings
from bon_gateway.settings_errors import SettingsError

SIZES = (1, 2, 4, 8)
READY_WITHIN_S = 120.0
SAMPLING = {"temperature": 1.0, "max_tokens": 64}
PROMPTS = Path(__file__).with_name("demo_prompts.jsonl")
PRICES = {
    "currency": "USD",
    "policy": {"hour": 2.0, "input_tokens_per_s": 20000.0, "output_tokens_per_s": 2000.0},
    "reward": {"hour": 2.0, "input_tokens_per_s": 20000.0},
}
"""Made up: a rented GPU with a model of usual size on it, not what the demo models take."""


def gateway_tree(tuned: Mapping[str, Path]) -> dict[str, Any]:
    """The embedded default's settings, with each tuned policy as a served model of its own."""
    tree = embedded.tree()
    for name, folder in tuned.items():
        if not (folder / "config.json").is_file():
            raise SettingsError("--tuned", name, f"{folder} is no folder of a model")
        tree["policies"][name] = {"type": "transformers", "model": str(folder), "threads": 1}
        tree["models"][name] = {"policy": name, "reward": "demo", "strategy": _best_of_one()}
    tree["models"]["demo"]["strategy"] = {"type": "best_of_n", "n": max(SIZES)}
    return tree


def _best_of_one() -> dict[str, Any]:
    """One sample, but scored, so that it has a reward to compare."""
    return {"type": "best_of_n", "n": 1}


def compare_tree(tuned: Mapping[str, Path]) -> dict[str, Any]:
    """Settings of the comparison where there is no file."""
    arms: dict[str, Any] = {
        f"base-{n}": {"model": "demo", "bon": {"strategy": "best_of_n", "n": n}} for n in SIZES
    }
    for name in tuned:
        arms[name] = {
            "model": name,
            "bon": {"strategy": "best_of_n", "n": 1},
            "training": name,
            # One answer needs no reward model; it is scored here to have a quality.
            "reward_price": {"input_per_million": 0.0},
        }
    return {
        "arms": arms,
        "prompts": {"file": str(PROMPTS)},
        "sampling": dict(SAMPLING),
        "prices": PRICES,
        "training": {
            name: {"records": [str(folder)], "hour": 2.0} for name, folder in tuned.items()
        },
        "load": {"concurrency": 2},
    }


@contextmanager
def running(tuned: Mapping[str, Path]) -> Iterator[str]:
    """The gateway, ready; its address. Raises SettingsError if it does not come up."""
    from bon_gateway.app import create_app
    from bon_gateway.compare.quiet_server import QuietServer, config_of
    from bon_gateway.server import bind

    settings = Settings.model_validate(gateway_tree(tuned))
    app = create_app(settings)
    server = QuietServer(config_of(app))
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            _wait(lambda: server.started and app.state.gateway.ready(), thread)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


def _wait(ready: Any, thread: threading.Thread) -> None:
    give_up = time.monotonic() + READY_WITHIN_S
    while not ready():
        if not thread.is_alive() or time.monotonic() > give_up:
            raise SettingsError("--embedded", "", "the gateway on the demo models did not start")
        time.sleep(0.05)


def parse_tuned(pairs: Sequence[str]) -> dict[str, Path]:
    """``name=folder``. Raises SettingsError."""
    tuned = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder):
            raise SettingsError("--tuned", pair, "expected NAME=FOLDER")
        tuned[name] = Path(folder)
    return tuned
