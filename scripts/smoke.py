"""Tries an installed distribution as its first user would.

    smoke.py base BIN       a base installation: no torch, the gateway imports, its command helps
    smoke.py servers BIN    starts both servers on the shipped demo models and asks them something
    smoke.py real BIN       downloads the real demo's model with BIN's pip, and asks it something

BIN is the `bin` folder of the environment that holds the installed wheel. Everything runs in an
empty folder, so that the source tree cannot stand in for what the wheel lacks. Each check prints
a line; the first that fails ends the run with status 1. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

READY_TIMEOUT_S = 180.0
REQUEST_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0


class SmokeError(Exception):
    """A check did not hold."""


def check(holds: bool, what: str) -> None:
    print(f"  {'ok' if holds else 'FAILED'}: {what}", flush=True)
    if not holds:
        raise SmokeError(what)


def clean_environment() -> dict[str, str]:
    """This process's environment without the variables that point to the source tree."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def output_of(command: Sequence[str | Path], folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=REQUEST_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise SmokeError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


# Servers ---------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(url: str, body: object = None, timeout: float = REQUEST_TIMEOUT_S) -> Any:
    """JSON of a GET, or of a POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise SmokeError(f"{url}: {error.code} {error.read().decode()}") from error


def is_ready(base: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_until_ready(process: subprocess.Popen[bytes], base: str) -> None:
    until = time.monotonic() + READY_TIMEOUT_S
    while not is_ready(base):
        if process.poll() is not None:
            raise SmokeError(f"the server ended with {process.returncode} before it was ready")
        if time.monotonic() > until:
            raise SmokeError(f"{base}/readyz was not 200 within {READY_TIMEOUT_S:.0f} s")
        time.sleep(0.2)


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(STOP_TIMEOUT_S)


@contextlib.contextmanager
def server(command: Sequence[str | Path], folder: Path) -> Iterator[str]:
    """Runs a server on a free port; yields its address; checks that SIGTERM ends it well."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            started = time.monotonic()
            wait_until_ready(process, base)
            check(True, f"/readyz answers after {time.monotonic() - started:.1f} s")
            yield base
            status = stop(process)
            check(status == 0, f"SIGTERM ends it with status 0 (was {status})")
        except BaseException:
            print(log.read_text(errors="replace"), file=sys.stderr)
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


# What is tried ---------------------------------------------------------------------------------


def smoke_base(binaries: Path, folder: Path) -> None:
    python = binaries / "python"
    for module in ("torch", "transformers"):
        find = f"from importlib.util import find_spec; print(find_spec({module!r}))"
        check(output_of([python, "-c", find], folder).strip() == "None", f"no {module}")
    origin = output_of([python, "-c", "import bon_gateway.app as a; print(a.__file__)"], folder)
    check("site-packages" in origin, "import bon_gateway.app, from the installed wheel")
    for command in ([], ["serve"]):
        text = output_of([binaries / "bon-gateway", *command, "--help"], folder)
        check("usage" in text.lower(), " ".join(["bon-gateway", *command, "--help"]))


def smoke_gateway(binaries: Path, folder: Path) -> None:
    ask_for_four(binaries, folder)


def smoke_real(binaries: Path, folder: Path) -> None:
    """What unpacks the model has to come with the extra `embedded`: other environments, such as
    that of the tests, have it for other reasons."""
    models = ask_for_four(binaries, folder, "--demo", "real")
    check("smollm2" in models, "the real model is served, and not the toy in its place")


def ask_for_four(binaries: Path, folder: Path, *flags: str) -> list[str]:
    """Start the gateway, ask its first model for four candidates; the names of its models."""
    with server([binaries / "bon-gateway", "serve", *flags], folder) as base:
        models: list[str] = [model["id"] for model in ask(f"{base}/v1/models")["data"]]
        check(bool(models), f"/v1/models lists {', '.join(models)}")
        answer = ask(
            f"{base}/v1/chat/completions",
            {
                "model": models[0],
                "messages": [{"role": "user", "content": "How many are three and four?"}],
                "bon": {"strategy": "best_of_n", "n": 4, "return_candidates": True},
            },
        )
        candidates = answer["bon"]["candidates"]
        check(len(candidates) == 4, "four candidates")
        check([c["index"] for c in candidates] == [0, 1, 2, 3], "candidates are listed in order")
        rewards = {c["index"]: c["reward"] for c in candidates if c["status"] == "finished"}
        winner, reward = answer["bon"]["winner"], answer["bon"]["reward"]
        check(reward == max(rewards.values()) == rewards[winner], "the best reward wins")
        content = answer["choices"][0]["message"]["content"]
        check(content == candidates[winner]["message"]["content"], "its message is the answer")
    return models


def smoke_reward_server(binaries: Path, folder: Path) -> None:
    where = "from pathlib import Path; import bon_gateway; print(Path(bon_gateway.__file__).parent)"
    package = Path(output_of([binaries / "python", "-c", where], folder).strip())
    model = package / "demo_models" / "reward"
    check(model.is_dir(), "the wheel holds the demo reward model")
    texts = ["The answer is 7.", "I will not help.", "The answer is 7."]
    item = {
        "messages": [{"role": "user", "content": "How many are three and four?"}],
        "completions": [{"role": "assistant", "content": text} for text in texts],
    }
    with server([binaries / "reward-server", "--model", model], folder) as base:
        forward = rewards_of(base, item)
        check(len(forward) == len(texts), "one reward a completion")
        check(close(forward[0], forward[2]), "equal completions have equal rewards")
        check(not close(forward[0], forward[1]), "different completions have different ones")
        turned = rewards_of(base, {**item, "completions": item["completions"][1:]})
        check(all(map(close, turned, forward[1:])), "rewards come in the order of the completions")


def rewards_of(base: str, item: dict[str, Any]) -> list[float]:
    answer = ask(f"{base}/v1/score", {"items": [item]})
    rewards: list[float] = answer["results"][0]["rewards"]
    return rewards


def close(left: float, right: float) -> bool:
    """Equal but for what padding and the batch's shape do to the last bits."""
    return abs(left - right) <= 1e-4 * max(1.0, abs(left), abs(right))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="smoke.py", description="Try an installed wheel.")
    parser.add_argument("what", choices=["base", "servers", "real"])
    parser.add_argument("binaries", type=Path, metavar="BIN")
    options = parser.parse_args(arguments)
    binaries = options.binaries.resolve()
    steps = {
        "base": [smoke_base],
        "servers": [smoke_gateway, smoke_reward_server],
        "real": [smoke_real],
    }
    try:
        for step in steps[options.what]:
            print(f"{step.__name__}:", flush=True)
            with tempfile.TemporaryDirectory(prefix="bon-gateway-smoke-") as folder:
                step(binaries, Path(folder))
    except SmokeError as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
