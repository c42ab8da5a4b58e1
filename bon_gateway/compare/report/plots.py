"""Draws the pictures of a report as PNG and SVG, and puts an SVG into a page. matplotlib (extra
``compare``) is imported only to draw them."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bon_gateway.compare.report.colours import INK, LINE, PAGE, as_variables
from bon_gateway.compare.report.picture import SIZE, Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {  # its type names every parameter that there is
    "svg.hashsalt": "bon-gateway",  # the same figures give the same file
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of arms may hold dollars
    "font.size": 10,
    "text.color": INK[0],
    "axes.labelcolor": INK[0],
    "axes.edgecolor": INK[0],
    "xtick.color": INK[0],
    "ytick.color": INK[0],
    "figure.facecolor": PAGE[0],
    "axes.facecolor": PAGE[0],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE[0],
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def draw_all(pictures: Mapping[str, Picture], folder: Path) -> dict[str, str]:
    """Write each picture as PNG and SVG into ``folder``. Returns the SVG texts by name, to be put
    into a page."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for name, picture in pictures.items():
        with rc_context(STYLE):
            figure = Figure(figsize=SIZE, layout="constrained")
            alt = picture.draw(figure)
            figure.savefig(folder / f"{name}.png", dpi=160)
            drawn[name] = _svg(figure, folder / f"{name}.svg", alt)
    return drawn


def _svg(figure: Figure, path: Path, alt: str) -> str:
    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    path.write_text(out.getvalue(), encoding="utf-8")
    return as_variables(within_page(out.getvalue(), path.stem, alt))


def within_page(svg: str, name: str, alt: str = "") -> str:
    """The SVG without what only a file of its own needs, with identifiers that no other picture
    on the page has, and with ``alt`` for those who do not see it."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r' (width|height)="[\d.]+pt"', "", body, count=2)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'="#', f'="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    if alt:
        body = f'<svg role="img" aria-label="{html.escape(alt)}"{body[len("<svg") :]}'
    return body
