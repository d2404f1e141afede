"""The page in a real browser: what it asks for, shows, says, copies and saves."""

from __future__ import annotations

import shutil
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast.explorer.code import code
from kernelrich_fast.explorer.models import model_of
from kernelrich_fast.explorer.state import default_state, parse_state
from kernelrich_fast.explorer.words import TITLES
from kernelrich_fast.status import without_convergence_warnings

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("bokeh")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

SETTLED = "window.explorer && window.explorer.settled() && window.Bokeh.documents.length > 0"
DONE = "document.getElementById('what').textContent === 'done'"


@pytest.fixture(scope="module")
def explorer():
    explorer = krf.explore(show=False)
    yield explorer
    explorer.close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


class Page:
    """A page that remembers what it asked for and what it complained of."""

    def __init__(self, browser, url, width=1280, height=800):
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(120_000)
        self.asked, self.said = [], []
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("websocket", lambda socket: self.asked.append(socket.url))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("console", self._console)
        self.tab.goto(url)
        self.settle()

    def _console(self, message):
        if message.type in ("warning", "error"):
            self.said.append(message.text)

    def settle(self, background=False):
        self.tab.wait_for_function(SETTLED)
        if background:
            self.tab.wait_for_function(DONE)

    def source(self, view, column="y0"):
        """A column of what a picture draws."""
        find = (
            "([view, column]) => Array.from(Bokeh.documents[0].get_model_by_name(view)"
            ".renderers[0].data_source.data[column])"
        )
        return np.array(self.tab.evaluate(find, [view, column]))

    def state(self):
        return parse_state(dict(parse_qsl(urlsplit(self.tab.url).query)))[0]

    def messages(self):
        return self.tab.inner_text("#messages")

    def slide(self, name, presses):
        """Press an arrow key on a slider, as a reader without a mouse does."""
        self.tab.focus(f"#slider-{name}")
        for _ in range(abs(presses)):
            self.tab.keyboard.press("ArrowRight" if presses > 0 else "ArrowLeft")
        self.settle()

    def close(self):
        self.context.close()
        assert self.said == []


@pytest.fixture
def open_page(browser, explorer):
    pages = []

    def opened(query="", **size):
        pages.append(Page(browser, explorer.url + query, **size))
        return pages[-1]

    yield opened
    for page in pages:
        page.close()


def test_it_asks_this_machine_alone(open_page, explorer):
    page = open_page()
    page.settle(background=True)
    hosts = {urlsplit(url).netloc for url in page.asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {f"127.0.0.1:{explorer.port}"}
    assert any(url.startswith("ws://") for url in page.asked)


@pytest.mark.parametrize("model", sorted(TITLES))
def test_it_shows_what_python_computes(model, open_page):
    page = open_page(f"?model={model}&seed=2")
    state = page.state()
    assert state == replace(default_state(model), seed=2)
    found = model_of(state)
    data = found.problem(state, None)
    now = found.now(state, data)
    page.settle(background=True)
    for _ in range(20):  # the last piece may still be on its way
        if np.isfinite(page.source("kernel_alpha")).all():
            break
        page.tab.wait_for_timeout(100)
    # Between machines of one instruction set the numbers are the same; here to rounding of JSON.
    np.testing.assert_allclose(page.source("loss"), now.tables["loss"]["loss"], rtol=1e-12)
    with without_convergence_warnings():
        over = list(found.over_alpha(state, data))[-1].tables
    np.testing.assert_allclose(page.source("error_alpha"), over["error_alpha"]["error"], rtol=1e-12)
    assert page.tab.locator(".view:visible").count() == len(TITLES[model])
    assert page.messages() == ""
    assert page.tab.inner_text("#facts") == "; ".join(now.facts) + "."


def test_keys_move_a_slider_the_pictures_and_the_address(open_page):
    page = open_page()
    before = page.source("loss")
    page.slide("alpha", -20)  # a decade
    state = page.state()
    assert state.alpha == pytest.approx(0.01, rel=1e-3)
    found = model_of(state)
    now = found.now(state, found.problem(state, None))
    np.testing.assert_allclose(page.source("loss"), now.tables["loss"]["loss"], rtol=1e-12)
    assert not np.array_equal(page.source("loss"), before)
    # The link reopens it.
    again = open_page("?" + urlsplit(page.tab.url).query)
    assert again.state() == state
    np.testing.assert_array_equal(again.source("loss"), page.source("loss"))
    assert again.tab.input_value("#slider-alpha") == page.tab.input_value("#slider-alpha")


def test_every_control_is_reached_by_tab_and_has_a_name(open_page):
    page = open_page()
    seen = []
    for _ in range(60):
        page.tab.keyboard.press("Tab")
        seen.append(
            page.tab.evaluate(
                "(() => { const e = document.activeElement; return [e.id || e.dataset.kind || '', "
                "e.ariaLabel || e.labels?.[0]?.innerText || e.innerText || '']; })()"
            )
        )
    names = {identity for identity, _ in seen}
    wanted = {f"slider-{c.name}" for c in default_state().controls()}
    assert wanted | {"model", "file", "link", "over", "code", "figure", "data"} <= names
    assert all(label for identity, label in seen if identity)


def test_the_model_is_changed_on_the_page(open_page):
    page = open_page()
    page.tab.select_option("#model", "network")
    page.tab.wait_for_function("location.search.includes('model=network')")
    page.settle()
    assert page.state() == default_state("network")
    assert page.tab.is_visible("#view-function")
    page.tab.select_option("#over", "depth")
    page.tab.wait_for_function("location.search.includes('over=depth')")
    page.tab.select_option("#model", "diagonal")
    page.tab.wait_for_function("location.search.includes('model=diagonal')")
    assert not page.tab.is_visible("#view-function")


def test_a_press_on_a_picture_moves_the_present_point(open_page):
    page = open_page()
    page.settle(background=True)
    page.tab.evaluate("window.explorer.tapped('phase', 0.001, 8)")
    page.tab.wait_for_function("location.search.includes('samples=60')")
    assert page.state().alpha == 0.001
    box = page.tab.locator("#view-error_alpha .picture").bounding_box()
    page.tab.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"])
    page.tab.wait_for_function("!location.search.includes('alpha=0.001&')")
    assert 0.03 < page.state().alpha < 10.0


@pytest.mark.parametrize("view", ["paths", "phase"])
def test_code_and_numbers_are_copied_and_saved(view, open_page):
    page = open_page("?samples=20&features=40")
    page.settle(background=True)
    state = page.state()
    found = model_of(state)
    now = found.now(state, found.problem(state, None))
    page.tab.click(f"#view-{view} button[data-kind=code]")
    page.tab.wait_for_selector("#code[open]")
    assert page.tab.input_value("#text") == code(state, view, now)
    page.tab.wait_for_function("document.getElementById('copied').textContent !== ''")
    assert page.tab.evaluate("navigator.clipboard.readText()") == code(state, view, now)
    page.tab.keyboard.press("Escape")
    with page.tab.expect_download() as saved:
        page.tab.click(f"#view-{view} button[data-kind=data]")
    numbers = np.genfromtxt(saved.value.path(), delimiter=",", names=True)
    if view == "paths":
        assert len(numbers.dtype.names) == 41
        np.testing.assert_array_equal(numbers["support_0"], now.tables["paths"]["support"][:, 0])
    else:
        assert numbers.dtype.names[:2] == ("alpha", "error_at_10")
    with page.tab.expect_download() as saved:
        page.tab.click(f"#view-{view} button[data-kind=figure]")
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")
    assert saved.value.suggested_filename == f"kernelrich-{view}.png"


def test_the_users_file_and_a_bad_one(open_page, tmp_path):
    page = open_page()
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n1,<b>x</b>\n")
    page.tab.set_input_files("#file", bad)
    page.tab.wait_for_function("document.getElementById('messages').textContent !== ''")
    assert "bad.csv: expected lines of numbers" in page.messages()
    page.slide("alpha", 1)  # the page goes on
    assert page.messages() == ""

    X, y, _ = krf.datasets.sparse_regression(30, 12, 2, seed=5)
    np.savez(tmp_path / "own.npz", X=X, y=y)
    page.tab.set_input_files("#file", tmp_path / "own.npz")
    page.tab.wait_for_function("location.search.includes('data=user-')")
    page.settle(background=True)
    said = "Yours: own.npz, 30 samples, 12 features."
    assert page.tab.inner_text("#source") == said
    assert page.tab.inner_text("#facts").startswith("N = 24 samples, d = 12 features")
    assert page.tab.locator("#slider-samples").count() == 0
    assert page.tab.locator("#slider-held_out").count() == 1
    # The server still has it for whoever opens the link.
    again = open_page("?" + urlsplit(page.tab.url).query)
    assert again.tab.inner_text("#source") == said
    page.tab.click("#generated")
    page.tab.wait_for_function("location.search.includes('data=generated')")


def test_a_link_to_data_that_are_gone_says_so(open_page):
    page = open_page("?data=user-000000000000&alpha=1e9")
    assert "choose the file again" in page.messages()
    assert "alpha: expected a number from 1e-06 to 10, got 1e9; 0.1 is used" in page.messages()
    assert page.state() == default_state()


def test_a_slow_computation_leaves_the_page_alive(browser):
    """A larger problem: the page answers meanwhile, and the newest state wins."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 1500))
    explorer = krf.explore(X, X[:, 0] - X[:, 1], show=False)
    page = Page(browser, explorer.url)
    page.tab.focus("#slider-alpha")
    for _ in range(8):
        page.tab.keyboard.press("ArrowLeft")
        # The browser's own thread is free: it draws frames between answers of the server.
        assert page.tab.evaluate("new Promise(go => requestAnimationFrame(() => go(true)))")
    page.settle()
    assert page.state().alpha == pytest.approx(0.1 * 10**-0.4, rel=1e-3)
    page.close()
    explorer.close()


def test_sliders_without_a_server(browser, tmp_path):
    """The file loads nothing, its sliders move its pictures, and it fits a telephone."""
    from kernelrich_fast.explorer.static import write_static

    write_static(tmp_path / "sliders.html")
    assert (tmp_path / "sliders.html").stat().st_size < 3e6
    asked, said = [], []
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("console", lambda m: said.append(m.text) if m.type in ("warning", "error") else None)
    tab.goto((tmp_path / "sliders.html").as_uri())
    tab.wait_for_function("document.getElementById('alpha-text').textContent !== ''")
    last = "Array.from(Bokeh.documents[0].get_model_by_name('norms_source').data.y0).at(-1)"
    seen = [tab.evaluate(last)]
    for control, key in (("alpha", "Home"), ("depth", "End")):
        tab.focus(f"#{control}")
        tab.keyboard.press(key)
        seen.append(tab.evaluate(last))
    state = replace(default_state(), samples=20, features=40, sparsity=3, alpha=1e-6, depth=4.0)
    found = model_of(state)
    now = found.now(state, found.problem(state, None))
    assert len(set(seen)) == 3
    assert seen[-1] == pytest.approx(now.tables["norms"]["l1_norm"][-2], rel=1e-3)
    assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    tab.close()
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == asked[:1]
    assert said == []


def test_on_a_telephone(open_page):
    page = open_page(width=390, height=844)
    overflow = page.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert overflow <= 0
    assert page.tab.is_visible("#slider-alpha")
    assert not page.tab.is_visible("#slider-samples")
    page.tab.click("#more summary")
    assert page.tab.is_visible("#slider-samples")
    page.tab.click("#more summary")
    # The scale stays in reach while pictures scroll by.
    page.tab.evaluate("document.getElementById('view-phase').scrollIntoView()")
    box = page.tab.locator("#slider-alpha").bounding_box()
    assert 0 <= box["y"] < 200
    assert box["height"] >= 30
