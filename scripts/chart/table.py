"""The table of values in the chart's README."""

from __future__ import annotations

import json
from itertools import groupby

from scripts.chart.values_file import Value

BEGIN = "<!-- values: written by `python -m scripts.chart` -->\n"
END = "<!-- end of values -->\n"


def placed(readme: str, values: list[Value]) -> str:
    """The README with the table where its marks are. Raises ValueError without them."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("README.md has no place for the table of values")
    return before + begin + render(values) + end + after


def render(values: list[Value]) -> str:
    parts = []
    for name, group in groupby(values, key=lambda value: value.path[0]):
        members = list(group)
        title, intro = (name, members[0].text) if members[0].section else ("", "")
        rows = [_row(value) for value in members if not value.section]
        parts.append((title, intro, rows))
    return _top(parts) + "".join(_section(*part) for part in parts if part[0])


def _top(parts: list[tuple[str, str, list[str]]]) -> str:
    rows = [row for title, _, rows in parts if not title for row in rows]
    return "\n" + _table(rows)


def _section(title: str, intro: str, rows: list[str]) -> str:
    return f"\n### {title}\n\n" + (f"{intro}\n\n" if intro else "") + _table(rows)


def _table(rows: list[str]) -> str:
    return "\n".join(["| value | default | |", "|---|---|---|", *rows, ""])


def _row(value: Value) -> str:
    default = json.dumps(value.default, ensure_ascii=False)
    return f"| `{value.dotted}` | `{default}` | {value.text.replace('|', chr(92) + '|')} |"
