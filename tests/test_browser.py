"""The report and the served page in a real browser, with no network: of a demo, and of a data set whose clip has a
hostile name."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import paths, tables
from tests import browsers, checkouts, clips
from tests.browsers import SCREENS, until
from tests.checkouts import Checkout

pytest.importorskip("espeakng_loader")
pytest.importorskip("playwright")
pytestmark = [pytest.mark.slow, browsers.NEEDS]

HOSTILE = "<script>alert(1)<script>"
VIEWS = ("results", "clips", "ulabels", "data")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A demo of eight clips whose words have times, and a data set of one clip, and of one text that says it is a video."""
    made, _ = checkouts.demo(tmp_path_factory)
    params = made.folder / "params.yaml"
    values = yaml.safe_load(params.read_text())
    values["transcribe"]["word_times"] = values["report"]["films"] = True
    params.write_text(yaml.safe_dump(values))
    own = made.folder / paths.RAW / "own"
    own.mkdir()
    (own / "dataset.yaml").write_text("redistribute: true\n")
    shutil.copy(min((made.folder / paths.RAW / "demo").rglob("*.mp4")), own / f"{HOSTILE}.mp4")
    (own / "notes.mp4").write_text("no video\n")
    made.run("dvc", "repro")
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsers.chromium() as found:
        yield found


@pytest.fixture
def page(browser: Any, project: Checkout) -> Iterator[Any]:
    with browsers.opened(browser, browsers.DESKTOP, home(project)) as found:
        found.home = f"{home(project)}index.html"
        yield found


def home(project: Checkout) -> str:
    return f"{browsers.address(project.folder / paths.REPORT)}/"


def clip_of(page: Any) -> str:
    """The first clip of the demo as the list names it, its page open and its film ready."""
    page.goto(f"{page.home}#clips")
    link = page.locator("#clip-list tbody a").first
    name = str(link.text_content())
    link.click()
    until(page, "document.querySelector('#clip video')?.readyState >= 2")
    return name


@pytest.mark.parametrize("screen", SCREENS)
def test_every_view_opens_and_can_be_used_by_everybody(browser: Any, project: Checkout, screen: str) -> None:
    with browsers.opened(browser, SCREENS[screen], home(project)) as page:
        page.home = f"{home(project)}index.html"
        for view in VIEWS:
            page.goto(f"{page.home}#{view}")
            page.wait_for_selector(f"#{view}:visible")
            assert page.locator(".view:visible").count() == 1
            assert page.locator("nav [aria-current=page]").get_attribute("href") == f"#{view}"
            for place in page.locator(".chart:visible").all():
                place.locator(".main-svg").first.wait_for()
            assert page.locator("[aria-label*=Share]").count() == 0  # plotly.js has a button that sends a chart away
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            browsers.keep(page, f"report-{view}-{screen}")
            assert browsers.serious(page) == []
        clip_of(page)
        page.locator("#clip .chart .main-svg").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        browsers.keep(page, f"report-clip-{screen}")
        assert browsers.serious(page) == []


def test_a_clip_plays_and_words_playhead_and_landmarks_follow(page: Any) -> None:
    clip_of(page)
    page.evaluate("document.querySelector('#clip video').play()")
    page.wait_for_selector("#clip .said [aria-current]")
    page.evaluate("document.querySelector('#clip video').pause()")
    until(page, "document.querySelector('#clip .chart').layout.shapes[0].x0 > 0")
    time, shown, x = page.evaluate(
        """() => { const video = document.querySelector('#clip video');
        return [video.currentTime, document.querySelector('#clip .said [aria-current]')?.textContent, document.querySelector('#clip .chart').layout.shapes[0].x0]; }"""
    )
    assert x == pytest.approx(time, abs=0.2)
    word = page.locator("#clip .said button").nth(3)
    word.click()  # to its moment
    until(page, "document.querySelectorAll('#clip .said button')[3].hasAttribute('aria-current')")
    assert page.evaluate("document.querySelector('#clip video').currentTime") != time or shown == word.text_content()
    drawn = "Array.from(document.querySelector('#clip canvas').getContext('2d').getImageData(0, 0, 400, 400).data).some(Boolean)"
    assert page.evaluate(drawn)
    page.get_by_label("Landmarks").uncheck()
    assert not page.evaluate(drawn)
    browsers.keep(page, "report-clip-playing")


def test_previous_and_next_go_through_what_the_list_shows(page: Any) -> None:
    page.goto(f"{page.home}#clips")
    page.get_by_role("combobox", name="Split").select_option("test")
    names = page.locator("#clip-list tbody a").all_text_contents()
    assert 1 < len(names) < 8
    page.locator("#clip-list tbody a").first.click()
    page.get_by_role("link", name="Next").click()
    until(page, "name => document.getElementById('clip-title').textContent === name", names[1])
    page.go_back()
    until(page, "name => document.getElementById('clip-title').textContent === name", names[0])


def test_filters_filter_and_columns_sort(page: Any) -> None:
    page.goto(f"{page.home}#clips")
    rows = page.locator("#clip-list tbody tr")
    assert rows.count() == 8
    page.get_by_label("Search words and names").fill(page.locator("#clip-list tbody a").nth(2).text_content())
    assert rows.count() == 1 and page.get_by_role("status").text_content() == "1 of 8 clips"
    page.get_by_role("button", name="Clear").click()
    until(page, "document.querySelectorAll('#clip-list tbody tr').length === 8")
    errors = [float(cell) for cell in page.locator("#clip-list tbody td:nth-child(5)").all_text_contents()]
    least = (sorted(errors)[3] + sorted(errors)[4]) / 2
    page.get_by_label("Error of at least").fill(str(least))
    assert rows.count() == sum(error >= least for error in errors)
    page.get_by_role("button", name="Error").click()
    page.get_by_role("button", name="Error").click()
    shown = [float(cell) for cell in page.locator("#clip-list tbody td:nth-child(5)").all_text_contents()]
    assert shown == sorted(shown, reverse=True)
    assert page.locator("#clip-list th[aria-sort=descending]").text_content() == "Error"
    assert page.evaluate("document.activeElement.textContent") == "Error"  # the keyboard stays where it was
    page.get_by_role("combobox", name="Speaker").select_option(index=1)
    assert rows.count() < len(shown)


def test_a_hostile_name_is_text(page: Any) -> None:
    page.goto(f"{page.home}#clips")
    page.get_by_role("combobox", name="Data set").select_option("own")
    link = page.locator("#clip-list tbody a")
    assert link.all_text_contents() == [f"{HOSTILE}/{HOSTILE}"] or HOSTILE in link.first.text_content()
    link.first.click()
    until(page, "document.querySelector('#clip video')?.readyState >= 2")
    assert HOSTILE in page.locator("#clip-title").text_content()


def test_a_text_that_says_it_is_a_video_is_refused_with_its_reason(page: Any) -> None:
    page.goto(f"{page.home}#data")
    table = page.get_by_role("region", name="Refused", exact=True)
    assert "notes.mp4" in table.text_content()


def test_the_slider_moves_the_distribution_and_a_point_opens_its_clip(page: Any) -> None:
    page.goto(f"{page.home}#ulabels")
    page.locator("#ulabel-map .main-svg").first.wait_for()
    heights = "Array.from(document.getElementById('ulabel-distribution').data.find((trace) => trace.type === 'bar' && trace.xaxis === 'x2').y)"
    slider = page.get_by_role("slider", name="Epoch")
    assert page.locator("#ulabel-epoch").text_content() == "4"
    last = page.evaluate(heights)
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#ulabel-epoch").text_content() == "1"
    assert page.evaluate(heights) != last and sum(page.evaluate(heights)) == sum(last)
    page.get_by_role("button", name="Play").click()
    until(page, "document.getElementById('ulabel-epoch').textContent === '4'")
    assert page.evaluate(heights) == last
    point = page.locator("#ulabel-map .scatterlayer .trace").last.locator("path.point").first
    point.hover(force=True)
    point.click(force=True)
    page.wait_for_selector("#clip:visible")
    assert page.locator("#clip-title").text_content()
    assert page.locator("#clip figure .main-svg").count()  # its u-labels over the epochs


def test_runs_are_compared_and_what_differs_is_named(page: Any) -> None:
    page.goto(f"{page.home}#results")
    difference = page.locator("#run-difference")
    assert "seed" in difference.text_content()
    page.get_by_role("combobox", name="Run B").select_option("0")
    assert difference.text_content().startswith("No parameter differs.")
    maes = difference.locator("tr", has_text="validation MAE").locator("td").all_text_contents()
    assert maes[1] == maes[2]


def test_both_conventions_of_acc2_are_told_on_hover_and_to_the_keyboard(page: Any) -> None:
    page.goto(f"{page.home}#results")
    heading = page.get_by_role("button", name="Acc-2").first
    told = page.get_by_role("tooltip").filter(has_text="negative against non-negative (0 counts as positive)")
    heading.hover()
    assert told.first.is_visible()
    page.mouse.move(0, 0)
    assert told.count() == 0 or not told.first.is_visible()
    heading.focus()
    assert told.first.is_visible()
    page.keyboard.press("Escape")
    assert told.count() == 0 or not told.first.is_visible()


def test_the_keyboard_alone_reaches_content_and_views(page: Any) -> None:
    page.goto(page.home)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#clips:visible")
    assert page.evaluate("document.activeElement.id") == "view"


def test_the_page_without_its_folder_says_what_is_missing(browser: Any, project: Checkout, tmp_path: Path) -> None:
    shutil.copy(project.folder / paths.REPORT / "index.html", tmp_path)
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{browsers.address(tmp_path / 'index.html')}#clips")
    page.locator("#clip-list tbody a").first.click()
    page.get_by_text("they lie in the folder media, which belongs beside this page").wait_for()
    context.close()


# The served page


@dataclass
class Served:
    """A running rawmsa serve: its address, and where its temporary files lie."""

    url: str
    temporary: Path

    def clips(self) -> list[Path]:
        return list(self.temporary.glob("rawmsa-serve-*/*"))


@pytest.fixture(scope="module")
def served(project: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    temporary = tmp_path_factory.mktemp("temporary")
    command = [sys.executable, "-m", "stages", "serve", "--port", "0"]
    environment = project.environment | {"TMPDIR": str(temporary)}
    with subprocess.Popen(command, cwd=project.folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        (address,) = re.findall(r"http://[\d.]+:\d+", process.stdout.readline())
        yield Served(f"{address}/", temporary)
        process.terminate()
    assert not list(temporary.glob("rawmsa-serve-*"))


@pytest.fixture
def trial(browser: Any, served: Served) -> Iterator[Any]:
    """The served page, ready for a clip."""
    with browsers.opened(browser, browsers.DESKTOP, served.url) as page:
        yield ready(page, served)


def ready(page: Any, served: Served) -> Any:
    page.goto(served.url)
    until(page, "document.body.dataset.ready === ''")
    return page


def video(project: Checkout) -> Path:
    return min((project.folder / paths.RAW / "demo").rglob("*.mp4"))


def shown(page: Any, part: str) -> None:
    page.locator(f"#{part}").wait_for(timeout=120_000)


@pytest.mark.parametrize("screen", SCREENS)
def test_an_upload_yields_what_predict_says_and_can_be_used_by_everybody(
    browser: Any, project: Checkout, served: Served, screen: str
) -> None:
    (expected,) = json.loads(project.stages("predict", str(video(project)), "--json"))
    with browsers.opened(browser, SCREENS[screen], served.url) as page:
        ready(page, served)
        assert browsers.serious(page) == []
        browsers.keep(page, f"serve-{screen}")
        page.locator("#file").set_input_files(video(project))
        shown(page, "result")
        assert page.locator("#sentiment").text_content().replace("−", "-") == f"{expected['prediction']:+.2f}"
        assert page.locator("#result-title").text_content() == video(project).name
        rows = page.get_by_role("region", name="Modalities").locator("tbody tr")
        facts = page.evaluate("fetch('facts').then((answer) => answer.json())")
        for row, modality in zip(rows.all_text_contents(), ("text", "audio", "vision"), strict=True):
            assert ("not told" in row) != facts["heads"][modality]["shown"], row
        until(page, "document.querySelector('#playing video').readyState >= 2")
        page.evaluate("document.querySelector('#playing video').play()")
        page.wait_for_selector("#playing .said [aria-current]")
        page.evaluate("document.querySelector('#playing video').pause()")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert browsers.serious(page) == []
        browsers.keep(page, f"serve-result-{screen}")
        with page.expect_download() as download:
            page.get_by_role("link", name="vision.parquet").click()
        (row,) = tables.read(download.value.path()).to_pylist()
        assert row["n_frames"] > 0 and any(row["mask"])


def test_a_text_that_says_it_is_a_video_is_told_predicts_reason_and_the_next_clip_works(
    trial: Any, project: Checkout
) -> None:
    bad = project.folder / paths.RAW / "own/notes.mp4"
    done = subprocess.run(
        [sys.executable, "-m", "stages", "predict", str(bad), "--json"],
        cwd=project.folder, env=project.environment, capture_output=True, text=True,
    )  # fmt: skip
    trial.locator("#file").set_input_files(bad)
    shown(trial, "failure")
    assert trial.locator("#reason").text_content() == json.loads(done.stdout)[0]["error"]
    trial.locator("#file").set_input_files(video(project))
    shown(trial, "result")
    assert trial.locator("#failure").is_hidden()


def test_a_hostile_name_of_an_upload_is_text(trial: Any, project: Checkout) -> None:
    trial.locator("#file").set_input_files(
        {"name": f"{HOSTILE}.mp4", "mimeType": "video/mp4", "buffer": video(project).read_bytes()}
    )
    shown(trial, "result")
    assert trial.locator("#result-title").text_content() == f"{HOSTILE}.mp4"


def test_a_longer_clip_has_its_sentiment_over_time(trial: Any, tmp_path: Path) -> None:
    trial.locator("#file").set_input_files(clips.make(tmp_path / "long.mp4", seconds=6.5))
    shown(trial, "result")
    row = until(trial, "document.querySelector('#playing .chart').data?.find((trace) => trace.name === 'sentiment')")
    assert row["x"] == pytest.approx([2, 3, 4, 4.5], abs=0.1)  # the middles of windows of 4 s
    assert all(isinstance(value, float) for value in row["y"])


def test_what_the_camera_records_is_predicted(trial: Any) -> None:
    trial.get_by_role("button", name="record with the camera").click()
    until(trial, "document.getElementById('preview').readyState >= 2")
    trial.wait_for_timeout(1500)  # of recording
    trial.get_by_role("button", name="Stop and use it").click()
    shown(trial, "result")
    assert trial.locator("#result-title").text_content() == "recording.webm"
    assert trial.locator("#odd").text_content()  # nobody speaks, and there is no face, in Chromium's test picture


def test_two_at_once_queue_and_a_closed_tab_frees_its_turn(browser: Any, project: Checkout, served: Served) -> None:
    with browsers.opened(browser, browsers.DESKTOP, served.url) as second:
        with browsers.opened(browser, browsers.DESKTOP, served.url) as first:
            for page in (first, second):
                ready(page, served).locator("#file").set_input_files(video(project))
            until(second, "/^1 clip comes before yours/.test(document.getElementById('waiting').textContent)")
        shown(second, "result")  # though the first tab was closed
        assert len(served.clips()) == 1
    deadline = time.monotonic() + browsers.WAIT
    while served.clips():
        assert time.monotonic() < deadline, "a closed tab's files are still there"
        time.sleep(0.1)
