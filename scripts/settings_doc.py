"""Write docs/settings.md from the settings' own docstrings: ``python scripts/settings_doc.py``."""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from bon_gateway.settings import tree as settings
from bon_gateway.settings.tree import Section

TARGET = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """\
# Settings

One YAML file (`bon-gateway serve --config FILE`), overridden by environment variables
(`BON_GATEWAY__SERVER__PORT=9000`: two underscores between the parts, the value read as YAML),
overridden by flags (`--set server.port=9000`, and `--host`, `--port`, `--workers`,
`--log-level`). An unknown key is an error that names it. `--print-config` shows the result.
`policies`, `rewards` and `models` are maps from a name of your choice.

This page is written by `scripts/settings_doc.py` from `bon_gateway/settings/tree.py`.
"""
SECTIONS: tuple[tuple[str, type[Section]], ...] = (
    ("policies.<name>, type: vllm", settings.VllmPolicySettings),
    ("policies.<name>, type: transformers", settings.TransformersPolicySettings),
    ("policies.<name>.thinking", settings.ThinkingSettings),
    ("rewards.<name>, type: reward_server", settings.RewardServerSettings),
    ("rewards.<name>, type: vllm_classify", settings.VllmClassifySettings),
    ("rewards.<name>, type: in_process", settings.InProcessRewardSettings),
    ("models.<name>", settings.ServedModelSettings),
    ("models.<name>.strategy, type: best_of_n", settings.BestOfNSettings),
    ("models.<name>.strategy, type: first_k", settings.FirstKSettings),
    ("models.<name>.strategy, type: single", settings.SingleSettings),
    ("server", settings.ServerSettings),
    ("auth", settings.AuthSettings),
    ("limits", settings.LimitsSettings),
    ("recording", settings.RecordingSettings),
)


def page() -> str:
    return HEAD + "".join(_section(title, section) for title, section in SECTIONS)


def _section(title: str, section: type[Section]) -> str:
    rows = [
        f"| `{name}` | {_kind(field.annotation)} | {_default(field)} | {_text(field)} |"
        for name, field in section.model_fields.items()
        if name != "type"
    ]
    return "\n".join(
        ["", f"## {title}", "", "| key | value | default | |", "|---|---|---|---|", *rows, ""]
    )


def _kind(annotation: Any) -> str:
    """An annotation in a reader's words."""
    origin = get_origin(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return _kind(parts[0]) if len(parts) == 1 else "one of the types below"
    if origin is tuple:
        return "list of texts" if get_args(annotation)[0] is str else "list of addresses"
    if origin is not None:
        return _kind(get_args(annotation)[0])
    if issubclass(annotation, Section):
        return f"{{{', '.join(annotation.model_fields)}}}"
    words = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    return words[annotation.__name__]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value == ():
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _text(field: FieldInfo) -> str:
    return " ".join((field.description or "").replace("``", "`").split())


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
