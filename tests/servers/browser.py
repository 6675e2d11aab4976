"""A headless Chromium, driven through its own debugging pipe: no driver, no further package."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.waiting import readable, wait_for

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_ANSWER_SECONDS = 60.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def program() -> str:
    """Return the browser, or skip the test where there is none."""
    for name in _PROGRAMS:
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium here")


class Browser:
    """One browser with one tab.

    Attributes:
        console: What pages have put there as warning or error, failed requests too.
        requests: The URLs that were asked for.
        prompts: How often it would have asked for a name and a password.
    """

    def __init__(self, directory: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        self.console: list[str] = []
        self.requests: list[str] = []
        self.prompts = 0
        self._login: dict[str, str] = {}
        self._buffer = b""
        self._last_id = 0
        self._session = ""

        def take_over() -> None:
            # The pipe is file 3 and 4 of the browser; first away from where they may be already.
            high = os.dup2(to_browser, 200), os.dup2(from_browser, 201)
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._child = subprocess.Popen(
            [program(), *_FLAGS, f"--user-data-dir={directory}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=take_over,  # noqa: PLW1509 - no other way to choose the numbers
            close_fds=False,
        )
        os.close(to_browser)
        os.close(from_browser)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End it."""
        self._child.kill()
        self._child.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Do one thing and return what the browser answers."""
        self._last_id += 1
        message: dict[str, object] = {"id": self._last_id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._last_id:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])
            self._note(answer)

    def log_in(self, name: str, password: str) -> None:
        """Fill in the browser's own prompt from now on."""
        self._login = {"response": "ProvideCredentials", "username": name, "password": password}
        self.call("Fetch.enable", handleAuthRequests=True)

    def open(self, url: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=url)
        wait_for("the page", lambda: self.run("document.readyState") == "complete")

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript in the page and return its value."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """Return the text of an element, "" where there is none."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText || ''"))

    def wait(self, what: str, expression: str, check: Callable[[Any], bool] = bool) -> None:
        """Wait until JavaScript says something that passes the check."""
        wait_for(what, lambda: check(self.run(expression)))

    def look(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Choose the size of the window, and light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> bytes:
        """Save the whole page as PNG and return it."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        data = base64.b64decode(shot["data"])
        path.write_bytes(data)
        return data

    def _say(self, method: str, asked: dict[str, Any], **params: object) -> None:
        """Answer the browser; what it says to that is of no interest."""
        params["requestId"] = asked["requestId"]
        message = {"id": 0, "method": method, "params": params, "sessionId": self._session}
        os.write(self._write, json.dumps(message).encode() + b"\0")

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready = readable(self._read, deadline - time.monotonic())
            assert ready, "the browser does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, "the browser has ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Fetch.authRequired":
                self.prompts += 1
                self._say("Fetch.continueWithAuth", params, authChallengeResponse=self._login)
            case "Fetch.requestPaused":
                self._say("Fetch.continueRequest", params)
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.console.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.console.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.console.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
