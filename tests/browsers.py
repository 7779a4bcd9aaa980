"""Chromium, headless and without a network, for the tests of what is shown in a browser."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.checkouts import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REASON = "no Chromium here: install Debian's or Ubuntu's package chromium"
OUTPUTS = ROOT / "build/screenshots"
QUIET = (  # a browser that asks nobody for anything
    "--disable-background-networking", "--disable-component-update", "--disable-quic", "--disable-sync", "--no-first-run",
    "--disable-gpu", "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
)  # fmt: skip
DESKTOP = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}
SCREENS = {"desktop": DESKTOP, "phone": PHONE}
WAIT = 20  # seconds
NEEDS = pytest.mark.skipif(CHROMIUM is None, reason=REASON)


@dataclass
class Heard:
    """What a page said that none should: errors on its console, and requests that leave this machine."""

    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's own sandbox does not start for root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *root])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, screen: dict[str, Any], home: str) -> Iterator[Any]:
    """A page of a fresh context; afterwards nothing may have been said that none should. home: what addresses begin with."""
    context = browser.new_context(**screen)
    context.set_offline(home.startswith("file:"))  # which cuts loopback off too, so not where a server is looked at
    page, heard = context.new_page(), Heard()
    page.set_default_timeout(1000 * WAIT)
    page.on("console", lambda said: heard.errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: heard.errors.append(str(error)))
    page.on("dialog", lambda dialog: heard.errors.append(f"dialog: {dialog.message}"))
    page.on("request", lambda asked: heard.strangers.append(asked.url) if not _ours(asked.url, home) else None)
    page.heard = heard
    yield page
    context.close()
    assert heard == Heard(), heard


def _ours(url: str, home: str) -> bool:
    return url.startswith((home, "data:", "blob:"))


def serious(page: Any) -> list[str]:
    """axe-core's serious and critical violations, each with where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def until(page: Any, expression: str, argument: Any = None) -> Any:
    """The first value of a JavaScript expression (or function of the argument) that is true; Playwright's own way needs
    eval, which our pages forbid."""
    deadline = time.monotonic() + WAIT
    while not (found := page.evaluate(expression, argument)):
        assert time.monotonic() < deadline, f"never became true: {expression}"
        page.wait_for_timeout(20)
    return found


def keep(page: Any, name: str) -> None:
    """A screenshot among the build outputs."""
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(OUTPUTS / f"{name}.png"))


def address(file: Path) -> str:
    return file.resolve().as_uri()
