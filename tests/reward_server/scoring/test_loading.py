"""What settings make of a checkpoint: weights that its trainer left, placement, compilation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from reward_server.errors import StartupError
from reward_server.model_settings import ModelSettings
from reward_server.network.forward import Forward
from reward_server.network.sequence import Rendered
from reward_server.scoring.loading import load_parts

BATCH = [Rendered((1, 20, 21, 22, n, 2), 4) for n in range(30, 36)]


def refusal(folder: str | Path) -> StartupError:
    with pytest.raises(StartupError) as caught:
        load_parts(ModelSettings(model=str(folder), device="cpu"))
    return caught.value


@pytest.mark.parametrize("name", ["{}/missing", "./missing", "a/b/c", "../x y", "/"])
def test_a_folder_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    folder = name.format(tmp_path)
    error = refusal(folder)
    assert error.key == "model"
    if folder != "/":
        assert error.reason == f"there is no such folder: {folder}"
    assert "Repo id" not in str(error)


def test_a_file_is_no_model(llama: Path) -> None:
    file = llama / "model.safetensors"
    assert refusal(file).reason == f"this is no folder: {file}"


@pytest.mark.parametrize("kept", [0, 4, 100, 5000])
def test_why_weights_cannot_be_read_is_told(llama: Path, tmp_path: Path, kept: int) -> None:
    folder = Path(shutil.copytree(llama, tmp_path / "model"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    error = refusal(folder)
    assert error.key == "model"
    assert "header" in error.reason.lower()


def test_a_tokenizer_of_more_tokens_than_the_embedding_is_refused(
    llama: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(llama, tmp_path / "model"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)
    assert "the tokenizer has token ids up to 261, the embedding has 261 rows" in str(
        refusal(folder)
    )


@pytest.mark.parametrize("whole", [True, False])
def test_an_adapter_is_refused(llama: Path, tmp_path: Path, whole: bool) -> None:
    """Its base says one label already, and the library would draw a head for it."""
    folder = tmp_path / "model"
    if whole:
        shutil.copytree(llama, folder)
    folder.mkdir(exist_ok=True)
    config = {"base_model_name_or_path": str(llama), "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert f"an adapter of {llama}, not a whole model" in str(refusal(folder))


def outputs(**settings: Any) -> list[float]:
    parts = load_parts(ModelSettings(**{"device": "cpu", **settings}))
    return flat(parts.forward)


def flat(forward: Forward, batch: list[Rendered] = BATCH) -> list[float]:
    return [value for output in forward(batch, 1000).outputs for value in output]


def test_several_labels_take_the_weights_that_they_were_trained_with(
    three_labels: Path, tmp_path: Path
) -> None:
    with pytest.raises(StartupError) as caught:
        load_parts(ModelSettings(model=str(three_labels), device="cpu"))
    assert caught.value.key == "label_weights"
    folder = Path(shutil.copytree(three_labels, tmp_path / "model"))
    dimensions = [
        {"name": name, "weight": i} for i, name in enumerate(("helpful", "safe", "short"))
    ]
    notes = folder / "rm_meta.json"
    notes.write_text(json.dumps({"dimensions": dimensions}))
    assert load_parts(ModelSettings(model=str(folder), device="cpu")).info.weights == (0, 1, 2)
    own = ModelSettings(model=str(folder), device="cpu", label_weights={"safe": 3})
    assert load_parts(own).info.weights == (0, 3, 0)
    notes.write_text(json.dumps({"dimensions": [{"name": "helpful"}]}))
    with pytest.raises(StartupError, match="dimensions"):
        load_parts(ModelSettings(model=str(folder), device="cpu"))


def test_the_library_may_place_the_layers(llama: Path) -> None:
    placed = outputs(model=str(llama), device_map={"": "cpu"})
    assert placed == pytest.approx(outputs(model=str(llama)))
    with pytest.raises(StartupError) as caught:
        outputs(model=str(llama), device_map={"": "nowhere"})
    assert caught.value.key == "device_map"


@pytest.mark.timeout(400)
# torch's compiler uses parts of torch that are on their way out.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for the CPU needs g++")
def test_a_compiled_network_gives_the_same_rewards(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config, "compile_threads", 1)  # more would outlive the test
    plain = outputs(model=str(llama))
    compiled = load_parts(ModelSettings(model=str(llama), device="cpu", compile=True)).forward
    for batch in (BATCH, BATCH[:2], [*BATCH, Rendered((5,) * 40, 20)]):
        common = min(len(batch), len(BATCH))
        assert flat(compiled, batch)[:common] == pytest.approx(plain[:common], abs=1e-4)


def test_what_is_kept_is_bounded_by_the_settings(llama: Path) -> None:
    prompt = tuple(range(5, 45))
    forward = load_parts(ModelSettings(model=str(llama), device="cpu")).forward
    assert forward.prompts is not None
    assert forward.prompts.keeps(40)
    forward([], 1000, [prompt])
    assert forward.prompts.size() == (1, 40 * 2 * 2 * 16 * 4)
    none = load_parts(ModelSettings(model=str(llama), device="cpu", prefix_cache_mb=0)).forward
    assert none.prompts is not None
    assert not none.prompts.keeps(40)


def test_on_the_cpu_freed_memory_is_kept(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(
        "reward_server.scoring.loading.keep_freed_memory", lambda: asked.append(True)
    )
    load_parts(ModelSettings(model=str(llama), device="cpu"))
    assert asked == [True]


def test_large_weights_are_packed_unless_that_is_off(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[object] = []
    monkeypatch.setattr("reward_server.scoring.loading.pack_weights", packed.append)
    load_parts(ModelSettings(model=str(llama), device="cpu", pack_weights=False))
    assert packed == []
    load_parts(ModelSettings(model=str(llama), device="cpu"))
    assert len(packed) == 1
