"""A headless Chromium, driven over its own protocol (CDP): one page, what it does wrong, and what is on it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from dtls_emu.testing.waiting import eventually


PATIENCE = 20.0
"""Seconds for anything that a page is waited for: machines are busy."""

FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--hide-scrollbars",
)


class Browser:
    """A page of a browser of its own.

    Fields:
        troubles: exceptions, errors of the console, and what the Content-Security-Policy has refused.
        asked: addresses that were loaded.
        traced: what the browser has recorded of itself, once it was asked to; None stands at the end of it.
    """

    def __init__(self, folder):
        flags = [*FLAGS, f"--user-data-dir={folder}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # it refuses to run as root otherwise; the page is ours
        self._process = subprocess.Popen(
            [shutil.which("chromium") or "chromium", *flags, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._stack = ExitStack()
        self._stack.callback(self._end)
        try:
            self._attach(Path(folder) / "DevToolsActivePort")
        except BaseException:
            self._stack.close()
            raise

    def _attach(self, file):
        port = self._port(file)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
            pages = json.load(answer)
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self._socket = self._stack.enter_context(
            connect(address, max_size=None, compression=None, proxy=None)
        )
        self._number = 0
        self.troubles: list[str] = []
        self.asked: list[str] = []
        self.traced: list[dict[str, Any] | None] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _port(self, file):
        def lines():
            return file.read_text().splitlines() if file.exists() else []

        return int(eventually(lines, "Chromium listens", seconds=PATIENCE)[0])

    def call(self, method, **parameters):
        """Have the browser do something; its answer."""
        self._number += 1
        number = self._number
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._take(message)

    def _take(self, message):
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.troubles.append(details.get("exception", {}).get("description", details["text"]))
            case "Log.entryAdded" if message["params"]["entry"]["level"] == "error":
                self.troubles.append(message["params"]["entry"]["text"])
            case "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])
            case "Tracing.dataCollected":
                self.traced += message["params"]["value"]
            case "Tracing.tracingComplete":
                self.traced.append(None)

    def open(self, address, width=1280, height=800, *, dark=False, phone=False):
        """Load a page on a screen of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=address)

    def evaluate(self, script):
        """The value of an expression of the page, awaited if it is a promise."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    def wait(self, script, *, seconds=PATIENCE):
        """Until an expression is true; its value."""
        asked = f"(each => each instanceof Node ? true : each)({script})"
        return eventually(lambda: self.evaluate(asked), f"{script}\n{self.troubles}", seconds=seconds)

    def click(self, selector):
        """With the mouse, in the middle of an element: what covers it gets the click."""
        found = self.evaluate(
            f"""(() => {{ const each = document.querySelector({json.dumps(selector)});
                each.scrollIntoView({{block: "center", inline: "center"}});
                const box = each.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2]; }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=found[0], y=found[1], button="left", clickCount=1
            )

    def key(self, key, code=None):
        """Press and release a key."""
        text = key if len(key) == 1 else None
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or key, **extra)

    def choose(self, selector, value):
        """Set a field, as by hand."""
        self.evaluate(
            f"""(() => {{ const each = document.querySelector({json.dumps(selector)});
                if (each.type === "checkbox") each.checked = {json.dumps(value)}; else each.value = {json.dumps(value)};
                each.dispatchEvent(new Event("input", {{bubbles: true}}));
                each.dispatchEvent(new Event("change", {{bubbles: true}})); }})()"""
        )

    def screenshot(self, path):
        """What is seen, as a PNG."""
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        """End the browser."""
        with suppress(Exception):
            self.call("Browser.close")
        self._stack.close()

    def _end(self):
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
