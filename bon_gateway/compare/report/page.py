"""What the pages of all reports have in common: the style, and tables and pictures as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from bon_gateway.compare.report.colours import variables
from bon_gateway.compare.report.picture import Picture


def template(folder: Path, name: str) -> jinja2.Template:
    """The page's template ``name`` in ``folder``. It may import ``parts.html.j2`` and include
    ``style.css.j2`` of this folder, whose colours are ``variables``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["variables"] = variables()
    return environment.get_template(name)


def on_page(
    pictures: Mapping[str, Picture], drawn: Mapping[str, str]
) -> Sequence[tuple[str, Picture, Markup]]:
    """Name, picture and SVG of each in ``drawn``, which has the SVG texts by name."""
    # Made here, with all names in it escaped by matplotlib.
    return [(name, pictures[name], Markup(svg)) for name, svg in drawn.items()]  # noqa: S704
