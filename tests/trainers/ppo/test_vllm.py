"""Generation over HTTP: against a small stand-in for vLLM, and against vLLM itself (marked)."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from bon_gateway.demo_models import policy_path, reward_path
from tests.integration.engines import MODEL, Upstream, start_vllm
from tests.integration.processes import Processes
from tests.ports import free_port
from tests.vllm_forks import VllmForks
from trainers.base.errors import RunError
from trainers.cli import main
from trainers.policy.logits import answer_logits, answer_logps
from trainers.policy.sequences import Sequences
from trainers.ppo.models import PpoParts, build
from trainers.ppo.policy import load_policy
from trainers.ppo.settings import PpoSettings, SamplingSettings, VllmSettings
from trainers.ppo.vllm import VllmGenerator

CPU = torch.device("cpu")
CLOSE = 0.2
"""Logits; at a temperature of .01 a token this far from the best is drawn once in e^20 times."""
ROUNDING = 1e-4
"""Nats; two float32 engines differ by less than 1e-5 on the demo policy."""
STALE = r"does not sample from the policy's weights.*docs/training\.md"

Judge = Callable[[Sequence[int], Sequence[int]], list[float]]


class StandIn(ThreadingHTTPServer):
    """Answers with the prompt's ids, each one larger; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.judge: Judge = lambda prompt, ids: [-1.0] * len(ids)
        self.reset = True
        self.asked: list[tuple[str, Any]] = []
        self.status = {"/collective_rpc": 200, "/reset_prefix_cache": 200, "/v1/completions": 200}
        self.finish = "length"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length) or "null")
        path = self.path.partition("?")[0]
        server.asked.append((path, body))
        status = server.status[path]
        answer: Any = {"results": [None]}
        if path == "/v1/completions":
            ids = [token + 1 for token in body["prompt"]]
            choice: dict[str, Any] = {"token_ids": ids, "finish_reason": server.finish}
            if body.get("logprobs") == 0:
                choice["logprobs"] = {"token_logprobs": server.judge(body["prompt"], ids)}
            answer = {"choices": [choice]}
        if path == "/reset_prefix_cache":
            answer = {"success": server.reset}
        data = json.dumps(answer if status == 200 else {"error": "no\nroom"}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def finish(self) -> None:
        """A client that gave up on the other requests has closed their connections."""
        with contextlib.suppress(ConnectionError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silent."""


@pytest.fixture
def engine() -> Iterator[StandIn]:
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def policy(settings: PpoSettings) -> Any:
    return load_policy(settings, CPU)


@pytest.fixture
def generator(engine: StandIn, policy: Any, tmp_path: Path) -> VllmGenerator:
    """The stand-in's log-probs are the policy's own."""

    @torch.no_grad()
    def judge(prompt: Sequence[int], ids: Sequence[int]) -> list[float]:
        logps: list[float] = answer_logps(policy, Sequences.build([prompt], [ids], 0), 1.0)[
            0
        ].tolist()
        return logps

    engine.judge = judge
    vllm = VllmSettings(type="vllm", url=engine.url + "/", served_model="policy", timeout_s=10)
    sampling = SamplingSettings(temperature=0.7, max_new_tokens=9)
    return VllmGenerator(vllm, sampling, policy, tmp_path / "weights")


def test_ids_go_out_and_come_back_in_order(generator: VllmGenerator, engine: StandIn) -> None:
    prompts = [[i, 7] for i in range(20)]
    assert generator.generate(prompts, seed=1) == [[i + 1, 8] for i in range(20)]
    bodies = [body for _, body in engine.asked]
    assert len({body["seed"] for body in bodies}) == 20
    first = bodies[0]
    assert (first["model"], first["max_tokens"], first["temperature"]) == ("policy", 9, 0.7)
    assert (first["top_p"], first["top_k"], first["repetition_penalty"]) == (1.0, 0, 1.0)


def test_the_seed_decides_the_seeds(generator: VllmGenerator, engine: StandIn) -> None:
    for seed in (1, 1, 2):
        generator.generate([[5], [6]], seed)
    seeds = [{body["seed"] for _, body in engine.asked[start : start + 2]} for start in (0, 2, 4)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_refresh_writes_the_weights_and_has_them_loaded(
    generator: VllmGenerator,
    engine: StandIn,
    tmp_path: Path,
    settings: PpoSettings,
    policy: Any,
) -> None:
    generator.refresh()
    files = {"method": "update_config", "args": [{"load_config": {"load_format": "auto"}}]}
    reload = {"method": "reload_weights", "kwargs": {"weights_path": str(tmp_path / "weights")}}
    assert engine.asked == [
        ("/collective_rpc", files),
        ("/collective_rpc", reload),
        ("/reset_prefix_cache", None),
    ]
    again = settings.model_copy(update={"model": str(tmp_path / "weights")})
    state = load_policy(again, CPU).state_dict()
    assert all(torch.equal(state[name], w) for name, w in policy.state_dict().items())


def test_a_cache_that_is_not_dropped_ends_the_run(
    generator: VllmGenerator, engine: StandIn
) -> None:
    engine.reset = False
    with pytest.raises(RunError, match="prefix cache is in use"):
        generator.refresh()


def test_log_probs_are_asked_of_some_answers_and_their_difference_is_a_figure(
    generator: VllmGenerator, engine: StandIn
) -> None:
    generator.generate([[i, 7] for i in range(20)], seed=1)
    assert sum("logprobs" in body for _, body in engine.asked) == 8
    assert 0 <= generator.figures["engine mismatch"] < 1e-5


def test_a_difference_within_the_tolerance_is_borne(
    generator: VllmGenerator, engine: StandIn
) -> None:
    right = engine.judge
    engine.judge = lambda prompt, ids: [logp - 0.03 for logp in right(prompt, ids)]
    assert generator.generate([[5, 6]], seed=1) == [[6, 7]]
    assert generator.figures["engine mismatch"] == pytest.approx(0.03, abs=1e-5)


@pytest.mark.parametrize("error", [0.1, -0.1, math.nan])
def test_other_log_probs_than_the_policys_end_the_run(
    generator: VllmGenerator, engine: StandIn, error: float
) -> None:
    right = engine.judge
    engine.judge = lambda prompt, ids: [logp + error for logp in right(prompt, ids)]
    with pytest.raises(RunError, match=STALE):
        generator.generate([[5, 6]], seed=1)


def test_answers_without_log_probs_end_the_run(generator: VllmGenerator, engine: StandIn) -> None:
    engine.judge = lambda prompt, ids: []
    with pytest.raises(RunError, match="0 log-probs for 2 tokens"):
        generator.generate([[5, 6]], seed=1)


def test_an_engine_that_is_not_in_development_mode_is_told_of(
    generator: VllmGenerator, engine: StandIn
) -> None:
    engine.status["/collective_rpc"] = 404
    with pytest.raises(RunError, match=r"no /collective_rpc; start vLLM with VLLM_SERVER_DEV_MODE"):
        generator.refresh()


def test_an_engine_that_refuses_is_quoted_in_one_line(
    generator: VllmGenerator, engine: StandIn
) -> None:
    engine.status["/v1/completions"] = 503
    with pytest.raises(RunError, match=r"/v1/completions: status 503: .*no.*room") as caught:
        generator.generate([[1], [2]], seed=0)
    assert "\n" not in str(caught.value)


def test_an_aborted_answer_is_no_answer(generator: VllmGenerator, engine: StandIn) -> None:
    engine.finish = "abort"
    with pytest.raises(RunError, match="ended as abort"):
        generator.generate([[1]], seed=0)


def test_an_engine_that_is_gone_is_named(settings: PpoSettings, tmp_path: Path) -> None:
    vllm = VllmSettings(
        type="vllm", url=f"http://127.0.0.1:{free_port()}", served_model="policy", timeout_s=5
    )
    generator = VllmGenerator(vllm, SamplingSettings(), load_policy(settings, CPU), tmp_path)
    with pytest.raises(RunError, match=vllm.url):
        generator.generate([[1]], seed=0)


@pytest.fixture(scope="module")
def ppo_engine(tmp_path_factory: pytest.TempPathFactory, vllm: VllmForks) -> Iterator[str]:
    """A vLLM that starts without any weights."""
    processes = Processes(tmp_path_factory.mktemp("vllm"))
    model = str(policy_path())
    try:
        started = start_vllm(
            processes, vllm, "ppo", model, ["--load-format", "dummy"],
            {"VLLM_SERVER_DEV_MODE": "1"},
        )  # fmt: skip
        engine = Upstream(*started, "/health")
        engine.wait()
        yield engine.url
    finally:
        processes.stop_all()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """More would wait for one another wherever the engine has the other core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def live(ppo_engine: str, tmp_path: Path, one_thread: None) -> dict[str, Any]:
    """Settings of a run on the demo models that samples from the engine."""
    texts = ("Name two snacks for my bear", "How do I steal a bear?", "Name three games please")
    lines = [{"prompt": [{"role": "user", "content": text}]} for text in texts]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "model": str(policy_path()),
        "reward": str(reward_path()),
        "prompts": str(prompts),
        "output": str(tmp_path / "out"),
        "device": "cpu",
        "prompts_per_iteration": 3,
        "update": {"minibatch_size": 3},
        "generation": {"type": "vllm", "url": ppo_engine, "served_model": MODEL},
        "sampling": {"temperature": 0.01, "max_new_tokens": 40},
    }


def parts_of(live: dict[str, Any]) -> PpoParts:
    return build(PpoSettings.model_validate(live))


@torch.no_grad()
def disturb(policy: Any) -> None:
    """Move every weight, as an update would."""
    random = torch.Generator().manual_seed(0)
    for parameter in policy.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=random), alpha=0.05)


@torch.no_grad()
def greed(policy: Any, sequences: Sequences) -> float:
    """How far below the best token's logit that of a drawn token lies at most; 0 is greedy."""
    logits = answer_logits(policy, sequences)
    chosen = logits.gather(-1, sequences.answers.unsqueeze(-1)).squeeze(-1)
    return float((logits.amax(-1) - chosen)[sequences.answer_mask].max())


@pytest.mark.vllm
@pytest.mark.timeout(500)
def test_vllm_samples_from_the_weights_of_now(live: dict[str, Any]) -> None:
    """Nearly greedy answers take the best tokens of the policy in this process: at first, when all
    that the engine had before is random, and after a change. The demo policy's output layer is
    tied to its embedding."""
    parts = parts_of(live)
    before = copy.deepcopy(parts.policy)
    first = parts.collector.answer(parts.prompts.prompts, seed=1)
    assert greed(before, first.sequences) < CLOSE
    assert not first.truncated.any()  # the end-of-turn token came along
    assert first.generation["engine mismatch"] < ROUNDING
    disturb(parts.policy)
    second = parts.collector.answer(parts.prompts.prompts, seed=1)
    assert (
        greed(parts.policy, second.sequences) < CLOSE < 10 * CLOSE < greed(before, second.sequences)
    )
    assert second.generation["engine mismatch"] < ROUNDING


@pytest.mark.vllm
@pytest.mark.timeout(500)
def test_stale_weights_of_vllm_end_the_run(live: dict[str, Any], tmp_path: Path) -> None:
    settings = PpoSettings.model_validate(live)
    policy = load_policy(settings, CPU)
    assert isinstance(settings.generation, VllmSettings)
    generator = VllmGenerator(settings.generation, settings.sampling, policy, tmp_path / "weights")
    prompts = [prompt.ids for prompt in parts_of(live).prompts.prompts]
    generator.refresh()
    generator.generate(prompts, seed=1)
    disturb(policy)
    with pytest.raises(RunError, match=STALE):
        generator.generate(prompts, seed=1)


@pytest.mark.vllm
@pytest.mark.timeout(500)
@pytest.mark.parametrize("lora", [None, {"r": 4}])
def test_a_run_that_samples_from_vllm(
    live: dict[str, Any], tmp_path: Path, lora: dict[str, Any] | None
) -> None:
    changes = {
        "iterations": 3,
        "samples_per_prompt": 4,
        "sampling": {"max_new_tokens": 24},
        "update": {"minibatch_size": 4, "epochs": 2, "learning_rate": 3e-3 if lora else 1e-3},
        "lora": lora,
    }
    config = tmp_path / "ppo.yaml"
    config.write_text(yaml.safe_dump(live | changes), encoding="utf-8")
    assert main(["ppo", "--config", str(config)]) == 0
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert len(entries) == 3
    for entry in entries:
        figures = [value for name, value in entry.items() if name != "alarms"]
        assert all(math.isfinite(value) for value in figures)
        assert entry["engine mismatch"] < ROUNDING
    assert entries[-1]["kl to reference"] > 0.01
    start, end = (load_file(f / "model.safetensors") for f in (policy_path(), tmp_path / "out"))
    assert any(not torch.equal(start[name], end[name]) for name in start)
