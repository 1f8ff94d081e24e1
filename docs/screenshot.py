"""Makes docs/images/page.png: the demo in Chromium, a few minutes into a grid event that a person started.

Run by `make screenshot`; needs Playwright's Python package and Chromium on the PATH.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from playwright.sync_api import Page, sync_playwright

PICTURE = Path(__file__).parent / "images" / "page.png"
START = "from wattlease.runtime.cli import main; main()"
SPEED = 4
LARGEST_BYTES = 300_000


def main() -> None:
    """Start the demo, ride into an event, take the picture, end the demo."""
    words = [sys.executable, "-c", START, "demo", "--port", "0", "--speed", str(SPEED)]
    demo = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert demo.stdout
    try:
        url = demo.stdout.readline().split()[0]
        ride_into_event(url)
        photograph(url)
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(10)
    size = PICTURE.stat().st_size
    print(f"{PICTURE}: {size / 1000:.0f} kB")
    if size > LARGEST_BYTES:
        raise SystemExit(f"the picture is over {LARGEST_BYTES / 1000:.0f} kB; show less")


def ride_into_event(url: str) -> None:
    """Half an hour of past, a job that came, and an event that has held for some minutes."""
    start_s = view_of(url)["history"]["t_s"][0]
    wait_for(url, lambda v: v["now_s"] > start_s + 1500)
    wait_for(url, lambda v: any(event["kind"] == "agents" for event in v["events"]))
    order(url, "job", {"gpus": 16, "kind": "Training"})
    order(url, "event", {"depth_frac": 0.35, "duration_s": 1500, "ramp_s": 120})
    begun_s = view_of(url)["now_s"]
    wait_for(url, lambda v: v["now_s"] > begun_s + 600)


def photograph(url: str) -> None:
    """The top of the page at 1,400 pixels, in light."""
    PICTURE.parent.mkdir(exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1480}, color_scheme="light", reduced_motion="reduce")
        show(page, url)
        page.screenshot(path=PICTURE)
        browser.close()


def show(page: Page, url: str) -> None:
    """Open the page and wait until its chart is drawn."""
    page.goto(url, wait_until="domcontentloaded")
    page.locator("#chart .scatterlayer .trace").first.wait_for(state="attached", timeout=60_000)
    page.wait_for_timeout(1500)


def order(url: str, name: str, body: dict[str, Any]) -> None:
    """One of the demo's controls."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/controls/{name}", orjson.dumps(body), headers)
    urllib.request.urlopen(request, timeout=30).close()


def view_of(url: str) -> dict[str, Any]:
    """The page's document."""
    with urllib.request.urlopen(f"{url}/api/view", timeout=30) as answer:
        view: dict[str, Any] = orjson.loads(answer.read())
    return view


def wait_for(url: str, holds: Callable[[dict[str, Any]], bool], within_s: float = 300.0) -> None:
    """Look each second until it holds."""
    ends_s = time.monotonic() + within_s
    while not holds(view_of(url)):
        if time.monotonic() > ends_s:
            raise SystemExit("the demo did not come so far in five minutes")
        time.sleep(1.0)


if __name__ == "__main__":
    main()
