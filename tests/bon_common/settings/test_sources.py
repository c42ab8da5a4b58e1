"""What is wrong is named as the file has it, whatever the settings' types are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import SettingsTree, as_yaml, parse_pairs

PATTERN = r"^https?://"


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Circle(Closed):
    kind: Literal["circle", "disc"]
    colour: Literal["red", "blue"] = "red"
    radius: float = 1.0


class Square(Closed):
    kind: Literal["square"]
    colour: Literal["red", "blue"] = "red"


class Plain(Closed):
    type: Literal["plain"] = "plain"
    size: int = 1


class Rich(Closed):
    type: Literal["rich"]


def kind_of(value: Any) -> str:
    return str(value.get("type", "plain")) if isinstance(value, dict) else "plain"


def _told(text: str) -> str:
    if text == "wrong":
        raise ValueError("says nothing")
    return text


Told = Annotated[str, AfterValidator(_told)]


class Everything(Closed):
    shapes: tuple[Annotated[Circle | Square, Field(discriminator="kind")], ...] = ()
    styles: Mapping[
        str,
        Annotated[Annotated[Plain, Tag("plain")] | Annotated[Rich, Tag("rich")],
                  Discriminator(kind_of)],
    ] = {}  # fmt: skip
    layers: Literal["all"] | tuple[str, ...] | dict[str, int] = "all"
    url: Annotated[str, Field(pattern=PATTERN)] = "http://h"
    maybe: Plain | None = None
    content: Told | Plain | tuple[Plain, ...] = "right"


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("shapez: []", "shapez", "unknown key; did you mean 'shapes'?"),
        ("shapes: [{kind: disc}, {kind: oval}]", "shapes.1.kind", "unknown kind 'oval'; known: "),
        ("shapes: [{}]", "shapes.0.kind", "is required; known: circle, disc, square"),
        ("shapes: [{kind: circle, radios: 2}]", "shapes.0.radios", "unknown key; did you mean"),
        ("shapes: [{kind: disc, radius: x}]", "shapes.0.radius", "should be a number, not 'x'"),
        ("styles: {a: {size: x}}", "styles.a.size", "should be a whole number, not 'x'"),
        ("styles: {a: {type: poor}}", "styles.a.type", "unknown type 'poor'; known: plain, rich"),
        ("styles: {plain: {sise: 1}}", "styles.plain.sise", "unknown key; did you mean 'size'?"),
        ("layers: 3", "layers", "should be 'all', not 3"),
        ("layers: {a: x}", "layers.a", "should be a whole number, not 'x'"),
        ("layers: [3]", "layers.0", "should be text, not 3"),
        ("content: 5", "content", "should be text or a mapping or a list, not 5"),
        ("content: {size: 1, kind: 2}", "content.kind", "unknown key; known: size, type"),
        ("content: {type: rich}", "content.type", "should be 'plain', not 'rich'"),
        ("content: [{}, {type: poor, y: 1}]", "content.1.type", "should be 'plain', not 'poor'"),
        ("content: [a]", "content.0", "should be a mapping, not 'a'"),
        ("styles: {a: {type: 'http://ann:secret@h'}}", "styles.a.type", "unknown type 'http://***"),
        ("content: wrong", "content", "says nothing"),
        ("url: ann:secret@h", "url", "should be an address"),
        ("url: ftp://ann:secret@h", "url", "should be an address, not 'ftp://***@h'"),
        ("maybe: {size: []}", "maybe.size", "should be a whole number, not []"),
    ],
)
def test_the_first_problem_has_its_place(tmp_path: Path, text: str, key: str, reason: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    tree = SettingsTree()
    tree.read(path)
    with pytest.raises(SettingsError) as caught:
        tree.checked(Everything, {PATTERN: "should be an address"})
    assert (caught.value.source, caught.value.key) == (str(path), key)
    assert caught.value.reason.startswith(reason)
    assert "secret" not in str(caught.value)


def test_the_source_is_what_set_the_key_last() -> None:
    tree = SettingsTree()
    tree.add((), {"maybe": {"size": 1}}, "a file")
    tree.environment({"MINE_MAYBE__SIZE": "2", "OTHER": "3"}, "MINE_")
    assert tree.checked(Everything).maybe == Plain(size=2)
    tree.override(parse_pairs(["maybe.size=x"]))
    with pytest.raises(SettingsError, match=r"^--set: maybe\.size: should be a whole number"):
        tree.checked(Everything)
    with pytest.raises(SettingsError, match=r"^--set: maybe: expected KEY=VALUE"):
        parse_pairs(["maybe"])


def test_shown_settings_hold_no_secret_of_an_address_and_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    shown = as_yaml(Everything(url="http://ann:secret@h"))
    assert "secret" not in shown
    path.write_text(as_yaml(Everything(maybe=Plain(size=4))))
    tree = SettingsTree()
    tree.read(path)
    assert tree.checked(Everything).maybe == Plain(size=4)
