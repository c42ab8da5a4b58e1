"""Brings the page up to date: every table between its marks, and the pictures.

A page that is not there yet is begun with all sections. Whatever stands outside the marks is
written by hand and stays.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from real_study.layout import Layout, step_parser
from real_study.plots import CAPTIONS, draw_pictures
from real_study.tables import SECTIONS, Figures

TITLE = "A real model: best-of-N, and policies tuned on the same rewards"


def begin(name: str) -> str:
    return f"<!-- {name}: written by `make real-study` -->\n"


def end(name: str) -> str:
    return f"<!-- end of {name} -->\n"


def placed(page: str, figures: Figures) -> str:
    """The page with every table where its marks are. Raises ValueError for marks that are not
    there: no figure may be lost without a word."""
    for name, (_, table) in SECTIONS.items():
        before, found, rest = page.partition(begin(name))
        _, closed, after = rest.partition(end(name))
        if not (found and closed):
            raise ValueError(f"the page has no place for {name}")
        page = f"{before}{found}\n{table(figures)}\n\n{closed}{after}"
    return page


def skeleton(pictures: str) -> str:
    """A page with all marks and pictures and no prose."""
    lines = [f"# {TITLE}", ""]
    for name, (heading, _) in SECTIONS.items():
        lines += [f"## {heading}", "", begin(name).rstrip(), end(name).rstrip(), ""]
        if name in CAPTIONS:
            lines += [f"![{CAPTIONS[name]}]({pictures}/{name}.svg)", "", CAPTIONS[name], ""]
    return "\n".join(lines).rstrip() + "\n"


def read_figures(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def main() -> int:
    layout = Layout.of(step_parser(__doc__).parse_args())
    figures = read_figures(layout.figures)
    if layout.page.exists():
        page = layout.page.read_text(encoding="utf-8")
    else:
        page = skeleton(layout.pictures.relative_to(layout.page.parent).as_posix())
    layout.page.write_text(placed(page, figures), encoding="utf-8")
    draw_pictures(figures, layout.pictures)
    print(layout.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
