"""A headless Chromium over its DevTools protocol: opens a page, asks it things, sees all it does.

No driver and no download: the protocol is JSON over a WebSocket, and `websockets` comes with
Prefect. Everything that the page does is seen, more than WebDriver shows: requests, dialogs,
console messages, violations of the page's policy.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
]


def installed() -> str | None:
    """The browser's path, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[str]:
    """A browser with a profile of its own; gives the address of its DevTools."""
    path = installed()
    assert path, "no Chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield _address(Path(profile) / "DevToolsActivePort", process)
        finally:
            process.terminate()
            process.wait(20)


def _address(file: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        lines = file.read_text().split() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise RuntimeError("Chromium did not start")


class Page:
    """One tab, in a browser context (cookies, clipboard permissions) of its own."""

    def __init__(self, address: str) -> None:
        self.socket: ClientConnection = connect(
            address, max_size=None, open_timeout=30, compression=None, proxy=None
        )
        self.numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        self.session = ""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)[
            "targetId"
        ]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self.context = context
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """Close the tab and the connection."""
        self.session = ""
        self.call("Target.disposeBrowserContext", browserContextId=self.context)
        self.socket.close()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; events that arrive meanwhile are kept."""
        number = next(self.numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = self._next(60)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def _next(self, timeout: float) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout))
        if "method" in message:
            self.events.append(message)
            if (
                message["method"] == "Page.javascriptDialogOpening"
            ):  # it would block everything; a test fails on the event
                self.socket.send(
                    json.dumps(
                        {
                            "id": next(self.numbers),
                            "sessionId": self.session,
                            "method": "Page.handleJavaScriptDialog",
                            "params": {"accept": False},
                        }
                    )
                )
        return message

    def open(self, url: str) -> None:
        """Go there and wait until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not self.seen("Page.loadEventFired"):
            self._next(60)

    def seen(self, *methods: str) -> list[dict[str, Any]]:
        """Parameters of the events of these names since the page was opened."""
        return [e["params"] for e in self.events if e["method"] in methods]

    def ask(self, script: str) -> Any:
        """The value of an expression; awaited, and as if a person had clicked."""
        answer = self.call(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def key(self, key: str, code: int, text: str = "") -> None:
        """Press and release one key."""
        common: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def look(
        self, width: int = 1280, height: int = 900, *, dark: bool = False, media: str = "screen"
    ) -> None:
        """The window's size, the colour scheme, screen or print."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def scripts(self, allowed: bool) -> None:
        """Whether pages may run scripts; `ask` can either way."""
        self.call("Emulation.setScriptExecutionDisabled", value=not allowed)

    def click(self, selector: str) -> None:
        """Click the middle of an element as a mouse does."""
        box = self.ask(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=box[0],
                y=box[1],
                button="left",
                clickCount=1,
            )

    def picture(self, file: Path) -> None:
        """The whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        shot = self.call(
            "Page.captureScreenshot",
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1},
        )
        file.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, file: Path) -> None:
        """The page on A4."""
        printed = self.call(
            "Page.printToPDF",
            preferCSSPageSize=True,
            printBackground=False,
            paperWidth=8.27,
            paperHeight=11.69,
        )
        file.write_bytes(base64.b64decode(printed["data"]))
