"""The reward model of the real demo: what is merged, and when it is made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bon_gateway.demo_models.real import merge, reward
from bon_gateway.demo_models.real.facts import HUB_NAME, PACKAGE, WEIGHTS, RealModelError
from reward_server.model_settings import ModelSettings
from reward_server.scoring.loading import load_parts
from tests.random_adapter import write_random_adapter
from tests.trainers.small import policy_path
from trainers.base.data import Conversation
from trainers.rewards.one import score

ASKED: Any = [{"role": "user", "content": "name three toys for a bear"}]
TALKS = [Conversation(ASKED).said(text) for text in ("a kite , a drum .", "no .")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trainer's run: its own merged model, and the adapter in it."""
    folder = tmp_path_factory.mktemp("run")
    write_random_adapter(policy_path(), folder)
    return folder


@pytest.fixture
def adapter(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run / "adapter", tmp_path / "adapter"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(policy_path(), tmp_path / "models" / "base"))
    (folder / "source.json").write_text(json.dumps({"from": PACKAGE}))
    return folder


def made(base: Path, adapter: Path) -> tuple[Path, list[str]]:
    said: list[str] = []
    folder = base.with_name("base-reward")
    reward.make_reward(base, adapter, folder, said.append)
    return folder, said


def test_it_is_what_the_trainers_merge(run: Path, base: Path, adapter: Path) -> None:
    folder, said = made(base, adapter)
    assert len(said) == 1
    ours, theirs = load_file(folder / WEIGHTS), load_file(run / WEIGHTS)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    assert score(folder, TALKS, 2) == score(run, TALKS, 2)
    config = [json.loads((one / "config.json").read_text()) for one in (folder, run)]
    assert config[0] == config[1] | {"use_cache": config[0]["use_cache"]}
    assert (folder / "rm_meta.json").read_text() == (adapter / "rm_meta.json").read_text()


def test_the_reward_server_loads_it(base: Path, adapter: Path) -> None:
    folder, _ = made(base, adapter)
    info = load_parts(ModelSettings(model=str(folder), device="cpu")).info
    assert (info.pooling, info.labels, info.dtype) == ("last_token", ("LABEL_0",), "float32")
    assert info.normalisation == {"mean": 0.0, "std": 1.0, "answers": 2}


def test_it_is_made_once_and_again_if_base_or_adapter_change(base: Path, adapter: Path) -> None:
    folder, _ = made(base, adapter)
    first = (folder / "source.json").read_bytes()
    assert made(base, adapter)[1] == []
    meta = json.loads((adapter / "rm_meta.json").read_text()) | {"max_length": 9}
    (adapter / "rm_meta.json").write_text(json.dumps(meta))
    assert len(made(base, adapter)[1]) == 1
    second = (folder / "source.json").read_bytes()
    assert second != first
    (base / "source.json").write_text(json.dumps({"from": HUB_NAME}))
    assert len(made(base, adapter)[1]) == 1
    assert (folder / "source.json").read_bytes() not in (first, second)
    (folder / WEIGHTS).write_bytes(b"cut")
    assert len(made(base, adapter)[1]) == 1
    assert load_file(folder / WEIGHTS)
    assert not list(folder.parent.glob(".partial*"))


def test_the_adapters_own_template_wins(base: Path, adapter: Path) -> None:
    (adapter / "chat_template.jinja").write_text("{{ messages }}")
    (adapter / "tokenizer.json").unlink()
    folder, _ = made(base, adapter)
    assert (folder / "chat_template.jinja").read_text() == "{{ messages }}"
    assert (folder / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_a_template_in_the_tokenizers_configuration(base: Path, adapter: Path) -> None:
    """As the hub has it: there is no file of it."""
    for folder in (base, adapter):
        template = (folder / "chat_template.jinja").read_text()
        (folder / "chat_template.jinja").unlink()
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
    folder, _ = made(base, adapter)
    assert len(score(folder, TALKS, 2)) == 2


def test_another_folder_is_left_alone(base: Path, adapter: Path) -> None:
    folder = base.with_name("base-reward")
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(RealModelError, match="holds something else"):
        made(base, adapter)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", reward.PARTS)
def test_an_adapter_that_is_not_whole(base: Path, adapter: Path, name: str) -> None:
    (adapter / name).unlink()
    with pytest.raises(RealModelError, match=f"has no {name}"):
        made(base, adapter)


@pytest.mark.parametrize("name", reward.PARTS)
def test_an_adapter_that_is_damaged(base: Path, adapter: Path, name: str) -> None:
    (adapter / name).write_text("{}")
    with pytest.raises(RealModelError, match="cannot be merged: ") as caught:
        made(base, adapter)
    assert "\n" not in str(caught.value)
    assert [path.name for path in base.parent.iterdir() if path.is_dir()] == ["base"]


@pytest.mark.parametrize(
    "change", [{"use_dora": True}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}}]
)
def test_an_adapter_of_another_kind_is_refused(
    base: Path, adapter: Path, change: dict[str, object]
) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RealModelError, match=f"an adapter with {next(iter(change))} "):
        made(base, adapter)
    assert not base.with_name("base-reward").exists()


def test_every_tensor_of_the_adapter_is_used(base: Path, adapter: Path) -> None:
    path = adapter / merge.ADAPTER_WEIGHTS
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("lora_A.weight"))
    first = tensors[name]
    for change in (
        {name.replace("layers.0", "layers.77"): first.clone()},
        {name: first[:, :-1].contiguous()},
        {name.replace("lora_A.weight", "lora_magnitude_vector"): first.clone()},
    ):
        save_file(tensors | change, path)
        with pytest.raises(RealModelError, match=r"the adapter.s .*lora_"):
            made(base, adapter)
