from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from scripts.transformers_range import ends

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_ends_are_what_the_extras_allow() -> None:
    wheel = ["transformers<5.9,>=5.1; extra == 'a'", "torch>=2.6", "transformers<5.9,>=5.1"]
    assert ends(wheel) == ["==5.1", "<5.9,>=5.1"]
    with pytest.raises(ValueError, match="no single range"):
        ends([*wheel, "transformers<5.9,>=5.2"])
    with pytest.raises(ValueError, match="no single range"):
        ends([])


def test_all_extras_allow_the_same() -> None:
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    named = {one for extra in extras.values() for one in extra if one.startswith("transformers")}
    assert named == {"transformers>=5.16.1,<5.25"}
