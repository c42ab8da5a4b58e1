"""The report in a real browser, at the width of a desk's screen and of a telephone's."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bon_gateway.compare.greedy import with_greedy
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


OVERLAPS = """
(() => {
  const boxes = selector => [...document.querySelectorAll(selector)]
    .filter(e => e.checkVisibility())
    .map(e => [e.textContent.trim(), e.getBoundingClientRect()])
    .filter(([text, box]) => text && box.width > 1 && box.height > 1);
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const found = [];
  const HTML = "h1, h2, h3, p, li, td, th, dt, dd, .prompt, .who";
  for (const labels of [boxes("svg text"), boxes(HTML)])
    labels.forEach(([one, a], i) => labels.slice(i + 1).forEach(([other, b]) => {
      if (meet(a, b)) found.push(`${one} / ${other}`);
    }));
  for (const text of document.querySelectorAll("svg text")) {
    const box = text.getBoundingClientRect(), around = text.closest("svg").getBoundingClientRect();
    if (box.left < around.left - 1 || box.right > around.right + 1) found.push(text.textContent);
  }
  return found;
})()
"""
FAINT = """
(() => {
  const channels = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = colour => channels(colour).map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const page = light(getComputedStyle(document.body).backgroundColor);
  const contrast = colour => {
    const [a, b] = [light(colour), page].sort((x, y) => y - x);
    return (a + .05) / (b + .05);
  };
  const texts = [...document.querySelectorAll("p, li, td, h1, h2, h3, dt, dd, figcaption")]
    .map(e => getComputedStyle(e).color);
  const drawn = [...document.querySelectorAll("svg text")].map(e => getComputedStyle(e).fill);
  return Math.min(...[...texts, ...drawn].map(contrast));
})()
"""


async def check_page(program: str, page: Path, profile: Path) -> None:
    """It reads well on a desk's screen and on a telephone's, light and dark, and asks for nothing
    from elsewhere."""
    async with browser.tab(program, profile) as tab:
        for scheme in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            await tab.call("Emulation.setEmulatedMedia", features=[feature])
            for width in (1280, 390):
                await tab.show(page, width, 900)
                assert await tab.evaluate("innerWidth") == width
                assert await tab.evaluate(OVERFLOW) <= 0
                assert await tab.evaluate(OUTSIDE) == 0
                assert await tab.evaluate(OVERLAPS) == [], (scheme, width)
                assert await tab.evaluate(SMALLEST_TEXT) >= 8
                assert await tab.evaluate(FAINT) >= 4.5
    assert tab.errors == []
    assert [url for url in tab.requests if not url.startswith(("data:", page.as_uri()))] == []


LONG = "a tuned policy of a name that is much longer than any picture is wide"


async def page_of(folder: Path) -> Path:
    async with (
        FakeUpstream(best_of_n(tokens=9, scored=12)) as base,
        FakeUpstream(best_of_n(tokens=9, scored=12, mean=2.0)) as other,
    ):
        arms: dict[str, Any] = {
            f"base-{n}": {"url": base.url, "model": "fake", "bon": {"n": n}} for n in (1, 4, 16)
        }
        tuned = {"url": other.url, "model": "fake", "bon": {"n": 2}, "training": "dpo"}
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
            assert await tab.evaluate("document.querySelectorAll('svg').length") == 4
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


async def page_of_many(folder: Path) -> Path:
    """Everything that crowds a picture: many arms, long names, high figures, every picture."""
    async with (
        FakeUpstream(best_of_n(tokens=900, scored=1200)) as base,
        FakeUpstream(best_of_n(tokens=900, scored=0, mean=2.0)) as tuned,
    ):
        arms: dict[str, Any] = {
            f"base-{n}": {"url": base.url, "model": "fake", "bon": {"n": n}}
            for n in (1, 2, 3, 4, 6, 8, 12, 16)
        }
        for name in (LONG, LONG.replace(" ", "-"), "dpo", "ppo"):
            arms[name] = {"url": tuned.url, "model": "fake", "training": "dpo"}
        settings = settings_of(
            folder,
            arms,
            prompts=8,
            quality=BY_GOLD,
            prices={"policy": {"input_per_million": 1.0, "output_per_million": 2.0}},
            training={"dpo": {"money": 30000.0, "retrains_per_month": 2}},
            target={"latency_ms": 1e6, "requests": 2, "start_rate": 500, "max_rate": 500},
        )
        return write_report(await compare(with_greedy(settings)), settings.output)


@pytest.mark.parametrize("made", [page_of, page_of_many])
async def test_labels_meet_nowhere_and_are_read_in_either_scheme(
    tmp_path: Path, made: Callable[[Path], Awaitable[Path]]
) -> None:
    assert PROGRAM is not None
    page = await made(tmp_path)
    async with browser.tab(PROGRAM, tmp_path / "profile") as tab:
        for scheme in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            await tab.call("Emulation.setEmulatedMedia", features=[feature])
            for width in (1280, 390):
                await tab.show(page, width, 900)
                assert await tab.evaluate(OVERLAPS) == [], (scheme, width)
                assert await tab.evaluate(OVERFLOW) <= 0
                assert await tab.evaluate(OUTSIDE) == 0
                assert await tab.evaluate(FAINT) >= 4.5
            background = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 31)"}[scheme]
        alt = "[...document.querySelectorAll('svg')].map(s => s.getAttribute('aria-label'))"
        told = await tab.evaluate(alt)
        assert all("base-1" in one or "best-of" in one for one in told), told
        shown = "document.querySelector('figure h2').textContent"
        assert await tab.evaluate(shown) == "Quality against N"
    assert tab.errors == []


async def test_the_browser_tells_what_is_wrong(tmp_path: Path) -> None:
    assert PROGRAM is not None
    page = tmp_path / "bad.html"
    page.write_text(
        "<svg viewBox='0 0 200 20'><text x='0' y='10'>here</text>"
        "<text x='5' y='10' fill='#ddd'>there</text><text x='195' y='10'>far</text></svg>"
        "<p style='width: 2000px'>wide</p><img src='http://127.0.0.1:9/x.png'>"
        "<script>console.log('hm'); throw new Error('oh')</script>"
    )
    async with browser.tab(PROGRAM, tmp_path / "profile") as tab:
        await tab.show(page, 390, 900)
        assert await tab.evaluate(OVERFLOW) > 0
        assert await tab.evaluate(OUTSIDE) == 1
        assert await tab.evaluate(OVERLAPS) == ["here / there", "far"]
        assert await tab.evaluate(FAINT) < 4.5
    assert "http://127.0.0.1:9/x.png" in tab.requests
    assert len(tab.errors) >= 2
