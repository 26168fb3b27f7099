"""Chromium without a screen, by its DevTools protocol."""

import asyncio
import base64
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from tests.process import Process

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_PATIENCE = 90.0  # seconds; a browser that starts on a busy machine takes its time
_QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--no-sandbox",  # for tests that run as root; what it is shown is our own
    "--disable-dev-shm-usage",
]


class Tab:
    """One page. ``errors`` are what its console was told of trouble, ``requested`` all URLs that it asked for."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.errors: list[str] = []
        self.requested: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._loaded = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def call(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(_PATIENCE):
            return await answer

    async def open(self, url: str) -> None:
        """Until it has loaded with all that it needs."""
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(_PATIENCE):
            await self._loaded.wait()

    async def run(self, expression: str) -> Any:
        """What a piece of JavaScript gives, awaited where it is a promise."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression: str) -> None:
        """Until that is true of the page."""
        async with asyncio.timeout(_PATIENCE):
            while not await self.run(expression):
                await asyncio.sleep(0.05)

    async def look(self, width: int, scheme: str) -> None:
        """As on a screen of so many CSS pixels, by a person who prefers that colour scheme."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def picture(self, path: Path) -> None:
        """Of the whole page, as PNG."""
        found = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                return
            self._take(json.loads(message.data))

    def _take(self, told: Mapping[str, Any]) -> None:
        if "id" in told:
            answer = self._answers.pop(told["id"])
            if not answer.done():
                answer.set_result(told.get("result", told.get("error")))
            return
        parameters = told["params"]
        match told["method"]:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.requested.append(parameters["request"]["url"])
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                self.errors.append(parameters["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.errors.append(json.dumps(parameters["args"]))


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Tab]:
    """A fresh one, with one tab; its profile is in the folder."""
    assert CHROMIUM is not None
    folder.mkdir()
    argv = [CHROMIUM, "--headless=new", *_QUIET, "--remote-debugging-port=0", f"--user-data-dir={folder}"]
    process = Process([*argv, "about:blank"], folder / "chromium.log")
    port = folder / "DevToolsActivePort"
    try:
        await asyncio.to_thread(process.wait_until, lambda: port.exists() and "\n" in port.read_text(), _PATIENCE)
        origin = f"http://127.0.0.1:{port.read_text().split()[0]}"
        async with ClientSession() as session:
            async with session.get(f"{origin}/json/list") as answer:
                (page,) = [each for each in await answer.json() if each["type"] == "page"]
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                for domain in ("Page", "Network", "Runtime", "Log"):
                    await tab.call(f"{domain}.enable")
                yield tab
                await tab.close()
    finally:
        await asyncio.to_thread(process.stop)
