from __future__ import annotations

import csv
import html
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bon_gateway.compare.figures.results import Results
from bon_gateway.compare.figures.words import number, signed, spread
from bon_gateway.compare.report.plots import within_page
from bon_gateway.compare.report.quality_tables import overview
from bon_gateway.compare.report.table import as_text
from bon_gateway.compare.report.write import write_report
from bon_gateway.compare.statistics import Interval
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import best_of_n
from tests.bon_gateway.compare.support import BY_GOLD, compare, settings_of

NASTY = "<script>alert(1)</script> & $\\broken$"
"""For HTML, and for matplotlib, which takes dollars for mathematics."""
VOID = {"meta", "link", "br", "use", "path", "img", "input", "hr"}


@pytest.fixture
async def results(tmp_path: Path) -> Results:
    async with (
        FakeUpstream(best_of_n(tokens=9, scored=12)) as base,
        FakeUpstream(best_of_n(tokens=9, scored=12, mean=3.0)) as tuned,
    ):
        arms: dict[str, Any] = {
            f"base-{n}": {"url": base.url, "model": "fake", "bon": {"n": n}} for n in (1, 4)
        }
        arms[NASTY] = {
            "url": tuned.url,
            "model": "fake",
            "bon": {"n": 2},
            "training": "dpo",
            "reward_price": {"input_per_million": 0},
        }
        settings = settings_of(
            tmp_path,
            arms,
            quality=BY_GOLD,
            prices={
                "policy": {"input_per_million": 1.0, "output_per_million": 2.0},
                "reward": {"input_per_million": 10.0},
            },
            training={"dpo": {"money": 3.0}},
            target={"latency_ms": 1e6, "requests": 2, "start_rate": 500, "max_rate": 500},
        )
        return await compare(settings)


class Page(HTMLParser):
    """Everything that could make a browser fetch something, and whether tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "style" and "url(" in (value or ""):
                self.references.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_in_itself(results: Results, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    page_file = write_report(results, folder)
    text = page_file.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert "script" not in page.tags
    assert [r for r in page.references if not r.startswith(("#", "data:"))] == []
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    assert page.tags.count("svg") == 5
    assert len(page.ids) == len(set(page.ids))
    used = {reference[1:] for reference in page.references if reference.startswith("#")}
    used |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert used <= set(page.ids)
    assert 'name="viewport"' in text
    for sentence in results.verdict:
        assert html.escape(sentence) in text


def test_every_cell_has_its_label_for_small_screens(results: Results, tmp_path: Path) -> None:
    page_file = write_report(results, tmp_path / "out")
    cells = re.findall(r"<td[^>]*>", page_file.read_text(encoding="utf-8"))
    assert cells
    assert all("data-label=" in cell for cell in cells)


def test_what_lies_beside_the_page(results: Results, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_report(results, folder)
    names = {"quality-by-n", "quality-by-cost", "latency", "break-even", "throughput"}
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        for name in names:
            assert (folder / "pictures" / (name + suffix)).read_bytes().startswith(magic)
    tree = json.loads((folder / "results.json").read_text())
    assert [arm["name"] for arm in tree["arms"]] == ["base-1", "base-4", NASTY]
    assert tree["tuned"][0]["arm"] == NASTY
    rows = list(csv.reader((folder / "figures.csv").read_text().splitlines()))
    assert rows[0] == ["arm", "figure", "value", "low", "high"]
    quality = next(row for row in rows if row[:2] == ["base-4", "quality gold"])
    assert float(quality[2]) == tree["arms"][1]["quality"]["gold"]["value"]


def test_the_same_results_give_the_same_page(results: Results, tmp_path: Path) -> None:
    first = write_report(results, tmp_path / "one")
    second = write_report(results, tmp_path / "two")
    assert first.read_bytes() == second.read_bytes()


def test_the_terminal_table(results: Results) -> None:
    lines = as_text(overview(results)).splitlines()
    assert lines[0].split()[:4] == ["arm", "N", "answered", "quality"]
    assert lines[2].split()[:3] == ["base-4", "4", "10/10"]
    # The two arms of several candidates have random choice and the oracle under them.
    assert [line.split("  ")[0] for line in lines[3:5]] == [
        "random choice of base-4",
        "oracle of base-4",
    ]
    assert len(lines) == 8


def test_svg_within_a_page() -> None:
    svg = '<?xml?><!DOCTYPE x><svg width="3pt" height="4pt"><metadata>http://x</metadata>'
    svg += '<g id="a"/><use xlink:href="#a" clip-path="url(#b)"/></svg>'
    assert within_page(svg, "n") == (
        '<svg><g id="n-a"/><use xlink:href="#n-a" clip-path="url(#n-b)"/></svg>'
    )


def test_every_arm_has_one_colour_everywhere(results: Results, tmp_path: Path) -> None:
    page = write_report(results, tmp_path / "out").read_text(encoding="utf-8")
    for place in range(len(results.arms)):
        pictures = re.findall(r'<figure id="picture-([a-z-]+)">(.*?)</figure>', page, re.DOTALL)
        coloured = {name for name, svg in pictures if f"var(--arm-{place})" in svg}
        assert coloured >= {"quality-by-n", "quality-by-cost", "latency", "throughput"}
    # Only the style names colours; the pictures leave them to the reader's scheme.
    for colour in ("#1f6fb2", "#1d2433", "#ffffff"):
        assert colour not in page.split("</style>")[1]


@pytest.mark.parametrize(
    ("ends", "text", "difference"),
    [
        ((-0.322, -0.6914, 0.0667), "-0.322 (-0.691 to 0.067)", "-0.322 (-0.691 to +0.067)"),
        ((1.97, 1.7, 2.163), "1.97 (1.70 to 2.16)", "+1.97 (+1.70 to +2.16)"),
        ((227.4, 197, 339), "227 (197 to 339)", "+227 (+197 to +339)"),
        ((12345.0, 1000, 20000), "12,345 (1,000 to 20,000)", "12,345 (1,000 to 20,000)"),
        ((0.0, 0.0, 0.0), "0 (0 to 0)", "0 (0 to 0)"),
        ((5.0, 1.0, math.inf), "5.00 (1.00 to ∞)", "+5.00 (+1.00 to ∞)"),
        ((math.inf, 1.0, math.inf), "never (1.00 to ∞)", "never (+1.00 to ∞)"),
    ],
)
def test_an_interval_has_one_number_of_decimals(
    ends: tuple[float, float, float], text: str, difference: str
) -> None:
    assert spread(Interval(*ends)) == text
    assert signed(Interval(*ends)) == difference


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (0.0, "0"),
        (float("inf"), "never"),
        (0.00001234, "1.23e-05"),
        (12.345, "12.3"),
        (1234567.8, "1,234,568"),
        (-0.5, "-0.5"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text
