"""A real Chromium without a window, and what the app draws in it."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException
from selenium.webdriver.common.action_chains import ActionChains

_HEAR = """
window.heard = [];
const Real = window.WebSocket;
window.WebSocket = class extends Real {
  constructor(...words) {
    super(...words);
    this.addEventListener("message", (event) => {
      const keep = (all) => window.heard.push(btoa(String.fromCharCode(...new Uint8Array(all))));
      if (event.data instanceof ArrayBuffer) keep(event.data);
      else if (event.data instanceof Blob) event.data.arrayBuffer().then(keep);
    });
  }
};
"""
"""Keeps what comes over the web socket: the terminal in the page draws on a canvas, which cannot be read."""

SCREEN = (200, 60)
"""Columns and lines, more than the page's terminal has."""


class Browser:
    """Chromium on one page."""

    def __init__(self, folder: Path, size: tuple[int, int] = (1280, 800)) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for word in (
            *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"),
            *("disable-background-networking", "disable-component-update", "disable-dev-shm-usage"),
            *(f"window-size={size[0]},{size[1]}", f"user-data-dir={folder}"),
        ):
            options.add_argument(f"--{word}")
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(str(shutil.which("chromedriver"))))
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _HEAR})
        self._screen = pyte.Screen(*SCREEN)
        self._stream = pyte.ByteStream(self._screen)

    def open(self, address: str) -> None:
        """Go to a page and give its terminal the keys."""
        self.driver.get(address)
        self.until(self._has_clicked)

    def _has_clicked(self) -> bool:
        """Click on the terminal, unless what is shown while it connects still lies over it."""
        try:
            self.driver.find_element("css selector", "#terminal").click()
        except ElementClickInterceptedException:
            return False
        return True

    def press(self, keys: str) -> None:
        """Type keys."""
        ActionChains(self.driver).send_keys(keys).perform()

    def text(self) -> str:
        """Return what the app shows now; only what is new is read, so that a long test does not get slower."""
        for part in self.driver.execute_script("return window.heard.splice(0)"):
            self._stream.feed(base64.b64decode(part))
        return "\n".join(self._screen.display)

    def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.text()
            time.sleep(0.1)

    def log(self) -> list[dict[str, Any]]:
        """Return what the page has written to the console."""
        return list(self.driver.get_log("browser"))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """End it."""
        self.driver.quit()
