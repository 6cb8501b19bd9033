"""The report in a real Chromium, opened as a file: it draws everything, loads nothing, and does as its buttons say."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.serving.published import connect
from pipelines.serving.report.content import collect
from pipelines.serving.report.page import render
from pipelines.settings import Sites
from tests.serving import report_lake
from tests.serving.report_lake import AT

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium here: make chromium-install")

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
]
MARKS = ".point, .points path, .scatterlayer .trace, .heatmaplayer image, .sankey-link"
SECONDS = 180  # a machine that does much else draws slowly


class Reader:
    """Somebody who has the page open."""

    def __init__(self, driver: Any, page: Path) -> None:
        self.driver = driver
        self.page = page

    def open(self, width: int = 1440, theme: str = "light") -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wanted = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
        self.driver.get(self.page.as_uri())
        self.wait()

    def wait(self) -> None:
        """Until every chart is drawn."""
        WebDriverWait(self.driver, SECONDS, 0.1).until(
            lambda _: self.run("return document.documentElement.dataset.ready")
        )

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()
        self.wait()

    def text(self, selector: str) -> str:
        return str(self.driver.find_element(By.CSS_SELECTOR, selector).text)

    def complaints(self) -> list[str]:
        """What the console said since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """What was asked for since the last call, but for images that the page draws itself."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
            and not message["params"]["request"]["url"].startswith("data:")
        ]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    lake = report_lake.make(folder / "lake")
    path = folder / "report.html"
    path.write_text(render(collect(connect(str(lake)), Sites(), at=AT), AT), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(DRIVER))
    made.set_script_timeout(SECONDS)
    made.set_page_load_timeout(SECONDS)
    yield made
    made.quit()


@pytest.fixture
def reader(driver: Any, page: Path) -> Reader:
    found = Reader(driver, page)
    found.open()
    return found


def test_everything_is_drawn_without_a_complaint_or_a_request(reader: Reader) -> None:
    reader.complaints()
    reader.requests()
    reader.open()
    charts = reader.run(
        "return [...document.querySelectorAll('.chart')].map((chart) => [chart.getAttribute('aria-label'),"
        " chart.querySelectorAll('svg.main-svg').length > 0,"
        f" chart.querySelectorAll('{MARKS}').length])"
    )

    assert len(charts) == 19
    assert [label for label, has_svg, marks in charts if not has_svg or not marks] == []
    assert (
        reader.run("return [...document.querySelectorAll('.body')].filter((part) => !part.innerText.trim()).length")
        == 0
    )
    assert reader.complaints() == []
    assert reader.requests() == [reader.page.as_uri()]


def test_a_click_on_a_filter_changes_what_is_shown(reader: Reader) -> None:
    def shown() -> tuple[str, str, str]:
        return reader.text("#period"), reader.text("#headline"), reader.text(".card:nth-child(2) .value")

    week = shown()
    reader.click("#older")
    week_before = shown()
    reader.click('[data-kind="month"]')
    month = shown()
    reader.click('[data-kind="day"]')
    day = shown()

    assert [period for period, _, _ in (week, week_before, month, day)] == [
        "4 – 10 May 2026",
        "27 Apr – 3 May 2026",
        "11 Apr – 10 May 2026",
        "Sun 10 May 2026",
    ]
    assert len({headline for _, headline, _ in (week, week_before, month, day)}) == 4
    assert int(day[2]) < int(week_before[2]) < int(week[2]) < int(month[2])


def test_a_site_with_little_says_so_in_sentences_and_draws_the_rest(reader: Reader) -> None:
    Select(reader.driver.find_element(By.ID, "site")).select_by_visible_text("quiet")
    reader.wait()

    assert reader.text("#headline") == "3 sessions, of which 0.0% converted"
    assert reader.text("#attribution-body") == "No conversion in this period, so there is no credit to give."
    assert reader.text("#retention-body") == "No cohort has a complete period yet."
    assert reader.run("return document.querySelectorAll('.chart:not([data-drawn])').length") == 0
    assert reader.complaints() == []


def test_a_pill_changes_the_length_of_lifecycle_periods(reader: Reader) -> None:
    bars = "return document.querySelectorAll('#users .barlayer .point').length"
    weeks = reader.run(bars)
    reader.driver.find_element(By.XPATH, "//section[@id='users']//button[text()='Months']").click()
    reader.wait()

    assert (weeks, reader.run(bars)) == (40, 12)


def test_labels_from_users_are_text_and_nothing_else(reader: Reader) -> None:
    reader.click('[data-kind="month"]')
    markup = "img[src], a[href*=evil], svg a, iframe, main script, main b b, tspan[style*='bold']"

    assert reader.run(f'return document.querySelectorAll("{markup}").length') == 0
    assert "<img src=x onerror=hacked()></script><script>hacked()</script>" in reader.text("#pages-body")
    # In a chart the label is shortened, and still shows its marks as they are.
    labels = reader.run("return [...document.querySelectorAll('#devices svg text')].map((text) => text.textContent)")
    assert any(label.startswith("<b>bold</b>") and label.endswith("%{x} &lt;") for label in labels)
    assert reader.complaints() == []


def test_a_script_that_is_not_the_pages_own_does_not_run(reader: Reader) -> None:
    reader.run(
        "const script = document.createElement('script'); script.textContent = 'window.ran = 1';"
        " document.body.append(script);"
        " const image = document.createElement('img'); image.setAttribute('onerror', 'window.ran = 2');"
        " image.src = 'data:,'; document.body.append(image);"
    )

    assert reader.run("return window.ran ?? null") is None
    assert any("Content Security Policy" in message for message in reader.complaints())


def test_light_and_dark_follow_the_system_until_one_chooses(reader: Reader) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    tick = "return getComputedStyle(document.querySelector('#users .xtick text')).fill"
    light = reader.run(ground), reader.run(tick)
    reader.open(theme="dark")
    dark = reader.run(ground), reader.run(tick)
    reader.click("#theme")
    chosen = reader.run(ground)
    reader.run("localStorage.clear()")

    assert light[0] == chosen == "rgb(245, 244, 241)"
    assert dark[0] == "rgb(18, 19, 23)"
    assert light[1] != dark[1]


@pytest.mark.parametrize("width", [390, 820])
def test_nothing_is_wider_than_the_screen(reader: Reader, width: int) -> None:
    reader.open(width=width)

    assert reader.run("return document.documentElement.scrollWidth") <= width


def test_it_prints_on_light_paper_with_its_charts(reader: Reader) -> None:
    reader.open(theme="dark")
    pdf = base64.b64decode(reader.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    reader.wait()

    assert pdf.startswith(b"%PDF")
    assert reader.run("return document.documentElement.dataset.theme") == "dark"
    assert reader.run("return document.querySelectorAll('.chart:not([data-drawn])').length") == 0
    reader.page.with_suffix(".pdf").write_bytes(pdf)
