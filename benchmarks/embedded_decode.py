"""Tokens a second of the embedded policy: N candidates of one prompt, drawn together.

Ways, in turns: the embedded policy's own generation, in bfloat16 too on a CPU that multiplies it;
transformers' ``generate`` for N prompts one after another; ``generate`` with
``num_return_sequences`` N; with ``--vllm-python`` a vLLM server on the same machine. All sample at
temperature 1 and go on to the last token. ``--model`` is a folder, or one of Qwen3's sizes with
random weights. Ratios compare within a round. Seconds are CPU time on the CPU, of the vLLM server's
processes too, and wall time on a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import torch
from reward_gpu import SIZES, config_of
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM

from bon_gateway.backends.policy.embedded.generation import GenerationJob, GenerationTask
from bon_gateway.backends.policy.embedded.loading import LoadedModel, load_causal_model
from bon_gateway.backends.policy.embedded.params import SamplingParams
from bon_gateway.backends.policy.embedded.settings import TransformersPolicySettings
from trainers.runtime.hardware import multiplies_bfloat16

DEMO = Path(__file__).parents[1] / "bon_gateway" / "demo_models" / "policy"

Way = Callable[[list[int], int], int]
"""Token ids of a prompt and a seed to the number of tokens drawn."""


def random_folder(size: str, folder: Path) -> Path:
    """A checkpoint with random weights, and the demo policy's tokenizer."""
    config = config_of(size, tie_word_embeddings=True, dtype=torch.bfloat16)
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(folder)
    return folder


def embedded(loaded: LoadedModel, candidates: int, tokens: int) -> Way:
    params = SamplingParams(ignore_eos=True)

    def draw(prompt: list[int], seed: int) -> int:
        task = GenerationTask(
            prompt=prompt,
            params=params,
            max_tokens=tokens,
            indices=range(candidates),
            seeds=[seed * candidates + index for index in range(candidates)],
            stream=False,
            tokens={},
            emit=lambda _: None,
        )
        job = GenerationJob(loaded, task)
        while not job.over:
            job.step()
        return sum(task.tokens.values())

    return draw


def library(model: Any, candidates: int, tokens: int, *, together: bool) -> Way:
    options = {
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "max_new_tokens": tokens,
        "min_new_tokens": tokens,
        "pad_token_id": 0,
    }

    def draw(prompt: list[int], seed: int) -> int:
        torch.manual_seed(seed)
        ids = torch.tensor([prompt], device=model.device)
        mask = torch.ones_like(ids)
        drawn = 0
        with torch.inference_mode():
            for _ in range(1 if together else candidates):
                rows = model.generate(
                    ids,
                    attention_mask=mask,
                    num_return_sequences=candidates if together else 1,
                    **options,
                )
                drawn += rows.shape[0] * (rows.shape[1] - len(prompt))
        return drawn

    return draw


@contextlib.contextmanager
def served(python: str, model: Path, candidates: int, tokens: int, folder: Path) -> Iterator[Way]:
    from engines import started, vllm

    with started({"vllm": vllm(python, model, 1024)}, folder) as urls, httpx.Client() as client:

        def draw(prompt: list[int], seed: int) -> int:
            asked = {"model": "demo", "prompt": prompt, "n": candidates, "max_tokens": tokens,
                     "temperature": 1.0, "ignore_eos": True, "seed": seed}  # fmt: skip
            answer = client.post(f"{urls['vllm']}/v1/completions", json=asked, timeout=600)
            return int(answer.raise_for_status().json()["usage"]["completion_tokens"])

        yield draw


def cpu_seconds() -> float:
    """Of this process and those that it started."""
    children = psutil.Process().children(recursive=True)
    return time.process_time() + sum(sum(child.cpu_times()[:2]) for child in children)


def measure(
    ways: dict[str, Way], prompt: list[int], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Tokens a second of each way in each round, after one that warms up."""
    speeds: dict[str, list[float]] = defaultdict(list)
    for turn in range(rounds + 1):
        for name, way in ways.items():
            begun = clock()
            drawn = way(prompt, turn)
            if turn:
                speeds[name].append(drawn / (clock() - begun))
    return speeds


def report(speeds: dict[str, list[float]]) -> list[dict[str, Any]]:
    base = speeds["generate, one by one"]
    rows = []
    for name, found in speeds.items():
        ratio = statistics.median(one / other for one, other in zip(found, base, strict=True))
        rows.append({"way": name, "tokens_s": statistics.median(found), "ratio": ratio})
        print(f"{name:24} {rows[-1]['tokens_s']:12.1f} {ratio:8.2f}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="0.6B", help="a folder, or " + ", ".join(SIZES))
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=64, help="tokens of the prompt")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each candidate")
    parser.add_argument("--threads", type=int, help="threads of the ways in this process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vllm-python", help="an interpreter with vLLM; it gets one thread")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="a tiny model, one round")
    options = parser.parse_args()
    if options.smoke:
        options.model, options.rounds, options.prompt, options.tokens = "tiny", 1, 8, 4
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = options.model
        if model in SIZES:
            model = random_folder(model, folder / "model")
        settings = TransformersPolicySettings(
            type="transformers", model=str(model), threads=options.threads
        )
        loaded = load_causal_model(settings)
        on_cpu = loaded.device.type == "cpu"
        dtype = torch.float32 if on_cpu else "auto"  # as the policy itself
        plain = AutoModelForCausalLM.from_pretrained(model, dtype=dtype).to(loaded.device).eval()
        shape = (options.candidates, options.tokens)
        ways = {
            "generate, one by one": library(plain, *shape, together=False),
            "generate, together": library(plain, *shape, together=True),
            "embedded": embedded(loaded, *shape),
        }
        if on_cpu and multiplies_bfloat16():
            halved = settings.model_copy(update={"dtype": "bfloat16"})
            ways["embedded, bfloat16"] = embedded(load_causal_model(halved), *shape)
        if options.vllm_python:
            ways["vllm"] = stack.enter_context(
                served(options.vllm_python, Path(model), *shape, folder)
            )
        prompt = [2 + position % 500 for position in range(options.prompt)]
        print(f"{loaded.device}, {plain.dtype}, {options.candidates} candidates")
        print(f"{'way':24} {'tokens/s':>12} {'ratio':>8}")
        clock = cpu_seconds if on_cpu else time.perf_counter
        rows = report(measure(ways, prompt, options.rounds, clock))
    if options.json is not None:
        options.json.write_text(json.dumps({"model": options.model, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
