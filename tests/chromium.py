"""Debian's chromium without a window, driven by its DevTools protocol: pages as a person sees them, and their pictures.

with chromium() as browser:
    browser.open("http://…", "what the page then shows")
    browser.click("Resume")
    Path("page.webp").write_bytes(browser.picture(1280, 800))
"""

import base64
import itertools
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PATIENCE = 60.0
_LARGEST = 64 << 20
_QUALITY = 60
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-first-run", "--remote-debugging-port=0", "--force-prefers-reduced-motion",
)  # fmt: skip
_BY_TEXT = """[...document.querySelectorAll('button, a, [role=tab]')]
    .find(each => each.innerText.trim() === %s && each.offsetParent !== null)"""


class Browser:
    """One page."""

    def __init__(self, connection: ClientConnection) -> None:
        """Take the page at the other end."""
        self._connection, self._numbers = connection, itertools.count(1)
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(PATIENCE))
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                result: dict[str, Any] = answer["result"]
                return result

    def log_in(self, login: str) -> None:
        """Have the Prefect UI know the login of its server, on each page."""
        script = f"localStorage.setItem('prefect-password', btoa({json.dumps(login)}))"
        self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def open(self, url: str, *shown: str) -> None:
        """Open a page, and wait until it shows these texts."""
        self.call("Page.navigate", url=url)
        self.wait(*shown)

    def wait(self, *shown: str) -> None:
        """Wait until the page shows these texts."""
        self._until(f"{json.dumps(shown)}.every(text => document.body.innerText.includes(text))", f"{shown}")

    def click(self, text: str) -> None:
        """Click on the button, link or tab with a text, as soon as it is there."""
        found = _BY_TEXT % json.dumps(text)
        self._until(f"(found => found ? (found.click(), true) : false)({found})", text)

    def picture(self, width: int, height: int) -> bytes:
        """Return what a window of this size shows, as WebP."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._evaluate("document.fonts.ready.then(() => new Promise(done => setTimeout(done, 500)))")
        found = self.call("Page.captureScreenshot", format="webp", quality=_QUALITY)
        return base64.b64decode(found["data"])

    def _until(self, condition: str, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self._evaluate(condition):
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not on the page: {self._evaluate('document.body.innerText')}")
            time.sleep(0.1)

    def _evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")


@contextmanager
def chromium(width: int = 1280, height: int = 800) -> Iterator[Browser]:
    """Yield a page of a browser of its own, which ends with the block."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = ["chromium", *_OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(_page(Path(profile)), max_size=_LARGEST) as connection:
                yield Browser(connection)
        finally:
            process.terminate()
            process.wait()


def _page(profile: Path) -> str:
    """Return the address of the browser's first page, once it listens."""
    import urllib.request

    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            port = (profile / "DevToolsActivePort").read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
                pages = [each for each in json.loads(answer.read()) if each["type"] == "page"]
            return str(pages[0]["webSocketDebuggerUrl"])
        except (OSError, IndexError):
            time.sleep(0.1)
    raise AssertionError("chromium does not listen")
