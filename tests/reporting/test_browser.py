"""The report in a browser: read, clicked and steered by keys, on a phone and in the dark, by rules of accessibility.

Needs Chromium (Debian: apt-get install chromium) and the extra `test`.
"""

import dataclasses
import itertools
import shutil
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from lgcn_jax.reporting import collect, page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")

# Without these it looks for its makers' hosts, each in vain where a machine has no network.
QUIET = ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", *QUIET]
PHONE, DESK = (360, 740), (1280, 800)
LONG = "A very long title with a word of fifty letters: " + "o" * 50

# Pairs of [text, contrast]: of all text that is seen, against the nearest background that is opaque.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("script, title, desc, .unseen") || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const [a, b] = [rgb(element.closest("svg") ? style.fill : style.color), behind(element)].map(light);
    found.push([element.textContent.trim().slice(0, 40), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
}"""

# [class, contrast] of what is drawn, against the paper behind it.
DRAWN = CONTRAST.replace('querySelectorAll("body *")', 'querySelectorAll("svg .line, svg .bar, svg circle, svg .axis")')
DRAWN = (
    DRAWN.replace("!own || ", "")
    .replace(
        'element.closest("svg") ? style.fill : style.color',
        'style.stroke === "none" || element.matches(".bar, circle:not(.best)") ? style.fill : style.stroke',
    )
    .replace("element.textContent.trim().slice(0, 40)", 'element.getAttribute("class")')
)


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install lgcn-jax[test]")
    with sync.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(run, tmp_path_factory) -> str:
    """Of a report with titles, one of them long, one of them markup."""
    data = collect.from_folder(run)
    titles = np.array([f"Film {n}" for n in range(data.interactions.num_items)], object)
    popular = data.findings.item_map.items[::-1]
    titles[popular[0]], titles[popular[1]] = LONG, "<script>window.broken = true</script><b>Bold</b>"
    titles[popular[2]] = ""
    titled = dataclasses.replace(data.interactions, item_titles=titles)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.render(dataclasses.replace(data, interactions=titled)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def shown(chromium, address) -> Iterator[Callable]:
    """Opens the report in a window; what it asks for, says and throws is none of its business, or nothing."""
    contexts, asked, told = [], [], []

    def open_page(size=DESK, scheme="light", **how):
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, **how)
        contexts.append(context)
        opened = context.new_page()
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("console", lambda message: told.append(message.text))
        opened.on("pageerror", lambda error: told.append(str(error)))
        opened.goto(address)
        return opened

    yield open_page
    for context in contexts:
        context.close()
    assert told == []
    assert {url for url in asked if not url.startswith("data:")} == {address}


def open_all(opened) -> None:
    opened.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")


LOOKS = list(itertools.product((PHONE, DESK), ("light", "dark")))
look = pytest.mark.parametrize(("size", "scheme"), LOOKS, ids=["phone", "phone-dark", "desk", "desk-dark"])


@look
def test_the_page_never_scrolls_sideways(shown, size, scheme):
    opened = shown(size, scheme)
    for state in ("as it opens", "with all that can be opened"):
        assert opened.evaluate("document.documentElement.scrollWidth") == size[0], state
        open_all(opened)


@look
def test_all_text_can_be_read(shown, size, scheme):
    """WCAG 2.2 AA: text has a contrast of 4.5 at least, what is drawn has 3."""
    opened = shown(size, scheme)
    open_all(opened)
    texts = opened.evaluate(CONTRAST)
    assert len(texts) > 300
    assert [pair for pair in texts if pair[1] < 4.5] == []
    drawn = opened.evaluate(DRAWN)
    assert len(drawn) > 200
    assert [pair for pair in drawn if pair[1] < 3] == []


def test_no_rule_of_accessibility_is_broken(shown):
    """All of axe's rules, but for that of contrast, which does not look into pictures; see the test above."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = shown(PHONE)
    open_all(opened)
    options = {"rules": {"color-contrast": {"enabled": False}}, "resultTypes": ["violations"]}
    found = axe.Axe().run(opened, options=options).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []


def test_type_is_large_enough_on_a_phone(shown):
    """Pictures are scaled to the window, and so are the texts in them."""
    opened = shown(PHONE)
    sizes = opened.evaluate(
        """() => [...document.querySelectorAll(".chart:not(.map) svg[role=img] text")].map((text) =>
          parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)"""
    )
    assert len(sizes) > 50
    assert min(sizes) >= 10


def test_a_charts_values_are_read_by_arrow_keys(shown, run):
    opened = shown()
    figure = opened.locator("figure#curve-recall")
    figure.locator(".plot").focus()
    table = figure.locator("table tbody tr")
    assert table.count() == 2

    def read() -> str:
        return figure.locator("output").text_content()

    def row(number: int) -> str:
        epoch, *values = table.nth(number).locator("th, td").all_text_contents()
        return ", ".join(
            [f"epoch {epoch}", *(f"{n} {v}" for n, v in zip(["recall@20", "recall@5"], values, strict=True))]
        )

    assert read() == row(1)
    opened.keyboard.press("ArrowLeft")
    assert read() == row(0)
    opened.keyboard.press("ArrowLeft")
    assert read() == row(0)
    opened.keyboard.press("End")
    assert read() == row(1)
    opened.keyboard.press("Tab")
    assert read() == ""


def test_a_charts_values_are_read_by_the_pointer(shown):
    opened = shown()
    figure = opened.locator("figure#by-k-recall")
    figure.locator(".band").first.hover()
    assert figure.locator("output").text_content().startswith("k (logarithmic) 5, this model 0.")
    assert figure.locator(".rule").count() == 1
    opened.locator("h1").hover()
    assert figure.locator("output").text_content() == ""


def test_the_map_tells_an_items_title_by_pointer_and_keys(shown):
    opened = shown()
    figure = opened.locator("figure.map")
    plot = figure.locator(".plot")
    plot.focus()  # begins at the most popular item
    first = figure.locator("table tbody tr").first.locator("th, td").all_text_contents()
    assert figure.locator(".readout").text_content() == f"{LONG}, id {first[1]}, {first[2]} users"
    assert figure.locator(".tip").text_content() == figure.locator(".readout").text_content()
    before = figure.locator("circle.at").bounding_box()
    opened.keyboard.press("ArrowRight" if before["x"] < 640 else "ArrowLeft")
    after = figure.locator("circle.at").bounding_box()
    assert (after["x"] > before["x"]) == (before["x"] < 640)
    assert figure.locator("circle.at").count() == 1
    assert figure.locator(".readout").text_content() != f"{LONG}, id {first[1]}, {first[2]} users"
    opened.locator("h1").click()
    opened.evaluate("document.activeElement.blur()")
    assert figure.locator(".tip").count() == 0


def test_items_are_found_by_a_word(shown):
    opened = shown(PHONE)
    figure = opened.locator("figure.map")
    opened.get_by_label("Find an item").fill("fifty LETTERS")
    assert figure.locator(".find output").text_content() == "1 of 200 items"
    assert figure.locator("circle.found").count() == 1
    figure.locator(".plot").focus()
    assert LONG in figure.locator(".readout").text_content()
    opened.get_by_label("Find an item").fill("")
    assert figure.locator(".find output").text_content() == ""
    assert figure.locator(".plot.sought").count() == 0


def test_titles_with_markup_are_texts(shown):
    opened = shown()
    assert opened.evaluate("window.broken") is None
    assert opened.locator("b").count() == 0
    assert opened.locator("figure.map tbody th", has_text="<b>Bold</b>").count() == 1


def test_everything_is_reached_and_opened_by_keys(shown):
    """Tab passes links, charts, tables and what can be opened; Enter opens; a link leads to its part."""
    opened = shown(reduced_motion="reduce")
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "To the content"
    reached = set()
    for _ in range(120):
        opened.keyboard.press("Tab")
        reached.add(opened.evaluate("document.activeElement.tagName + '.' + document.activeElement.className"))
    assert {"A.", "DIV.plot", "SUMMARY.", "DIV.scroll", "INPUT."} <= reached
    values = opened.locator("#by-k-recall summary")
    values.focus()
    assert not opened.locator("#by-k-recall table").is_visible()
    opened.keyboard.press("Enter")
    assert opened.locator("#by-k-recall table").is_visible()
    opened.get_by_role("navigation").get_by_role("link", name="Training").click()
    assert opened.url.endswith("#training")
    assert opened.locator("#training").bounding_box()["y"] < 200


def test_a_users_lists_open_on_a_click(shown):
    opened = shown(PHONE)
    last = opened.locator("details.card").last
    assert not last.locator("ol").is_visible()
    last.locator("summary").click()
    assert last.locator("ol li").count() == 10
    assert last.locator("ol li").first.is_visible()


def test_it_works_without_its_script(shown):
    """Values stand in titles under the pointer and in tables; what would do nothing is not there."""
    opened = shown(java_script_enabled=False)
    assert not opened.locator(".find").is_visible()
    assert opened.locator("figure#by-k-recall .band title").first.text_content().startswith("k (logarithmic) 5, ")
    assert LONG in opened.locator("figure.map circle title").last.text_content()
    opened.locator("#by-k-recall summary").click()
    assert opened.locator("#by-k-recall table").is_visible()


def test_all_that_is_folded_is_printed_dark_on_white(shown):
    opened = shown(scheme="dark")
    opened.emulate_media(media="print")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert [pair for pair in opened.evaluate(CONTRAST) if pair[1] < 4.5] == []
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.locator("details:not([open])").count() == 0
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.locator("details:not([open])").count() > 10


def test_nothing_moves_for_whom_motion_is_too_much(shown):
    def behavior(preference: str) -> str:
        return shown(reduced_motion=preference).evaluate("getComputedStyle(document.documentElement).scrollBehavior")

    assert [behavior("no-preference"), behavior("reduce")] == ["smooth", "auto"]
