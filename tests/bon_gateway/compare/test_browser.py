"""The report in a real browser, at the width of a desk's screen and of a telephone's."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bon_gateway.compare.report.write import write_report
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare import browser
from tests.bon_gateway.compare.endpoints import best_of_n
from tests.bon_gateway.compare.support import BY_GOLD, compare, settings_of

PROGRAM = browser.find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SMALLEST_TEXT = """
(() => {
  const texts = [...document.querySelectorAll("p, li, td, h1, h2, figcaption, svg text")];
  const seen = texts.filter(t => t.textContent.trim() && t.getBoundingClientRect().width > 1);
  return Math.min(...seen.map(t => {
    const svg = t.closest("svg");
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    return parseFloat(getComputedStyle(t).fontSize) * scale;
  }));
})()
"""
OUTSIDE = """
[...document.querySelectorAll("p, li, td, h1, h2, figcaption, svg")].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && (box.left < 0 || box.right > innerWidth + 0.5);
}).length
"""


async def page_of(folder: Path) -> Path:
    async with FakeUpstream(best_of_n(tokens=9, scored=12)) as base:
        arms: dict[str, Any] = {
            f"base-{n}": {"url": base.url, "model": "fake", "bon": {"n": n}} for n in (1, 4, 16)
        }
        tuned = {"url": base.url, "model": "fake", "bon": {"n": 2}, "training": "dpo"}
        arms["a-tuned-policy-of-a-long-name"] = tuned
        settings = settings_of(
            folder,
            arms,
            quality=BY_GOLD,
            prices={"policy": {"input_per_million": 1.0, "output_per_million": 2.0}},
            training={"dpo": {"money": 3.0, "retrains_per_month": 2}},
        )
        return write_report(await compare(settings), settings.output)


async def test_it_reads_well_on_both_screens(tmp_path: Path) -> None:
    assert PROGRAM is not None
    page = await page_of(tmp_path)
    async with browser.tab(PROGRAM, tmp_path / "profile") as tab:
        for width in (1280, 390):
            await tab.show(page, width, 900)
            assert await tab.evaluate("innerWidth") == width
            assert await tab.evaluate(OVERFLOW) <= 0
            assert await tab.evaluate(OUTSIDE) == 0
            assert await tab.evaluate("document.querySelectorAll('svg').length") == 3
            # Pixels; the legends of the pictures are the smallest.
            assert await tab.evaluate(SMALLEST_TEXT) >= 8
            picture = Image.open(io.BytesIO(await tab.screenshot()))
            assert picture.size == (width, 900)
            colours = picture.convert("RGB").getcolors(maxcolors=1 << 24)
            assert colours is not None
            assert len(colours) > 100
    assert tab.errors == []
    assert [url for url in tab.requests if not url.startswith(("data:", page.as_uri()))] == []
    assert page.as_uri() in tab.requests


async def test_the_browser_tells_what_is_wrong(tmp_path: Path) -> None:
    assert PROGRAM is not None
    page = tmp_path / "bad.html"
    page.write_text(
        "<p style='width: 2000px'>wide</p><img src='http://127.0.0.1:9/x.png'>"
        "<script>console.log('hm'); throw new Error('oh')</script>"
    )
    async with browser.tab(PROGRAM, tmp_path / "profile") as tab:
        await tab.show(page, 390, 900)
        assert await tab.evaluate(OVERFLOW) > 0
        assert await tab.evaluate(OUTSIDE) == 1
    assert "http://127.0.0.1:9/x.png" in tab.requests
    assert len(tab.errors) >= 2
