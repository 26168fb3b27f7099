"""Entrepot as a process of its own, as users start it, seen from the loop of a scene."""

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.scenarios.client import Client, Reply
from tests.scenarios.house import NAME

_ANNOUNCED = re.compile(r"serves pulls on 127\.0\.0\.1:(\d+), admin on 127\.0\.0\.1:(\d+)")
_PATIENCE = 30.0


class Site:
    """``settings`` is the configuration file; ports are the kernel's choice. ``output`` gathers all that it prints."""

    def __init__(self, folder: Path, url: str, settings: Mapping[str, Any] | None = None) -> None:
        self.folder = folder / "cache"
        self.output = folder / "output"
        self.port = self.admin = 0
        self._before = 0  # characters of output when it was launched
        self._config = folder / "entrepot.yaml"
        self._process: asyncio.subprocess.Process | None = None
        given = {
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "cache": {"path": str(self.folder), "max_size": "1GiB", "min_free": 0},
            "upstreams": {NAME: {"url": url}},
            "drain": {"delay": "0s", "timeout": "10s"},
        }
        self._config.write_text(yaml.safe_dump({**given, **(settings or {})}))

    async def start(self) -> None:
        """Until it says where it listens. Fails where it ends first."""
        await self.launch()
        await self.announced()

    async def announced(self) -> None:
        """Until the process that was launched last says where it listens."""
        said = self._before
        async with asyncio.timeout(_PATIENCE):
            while not (found := _ANNOUNCED.search(self._said(), said)):
                assert self._process is not None
                assert self._process.returncode is None, self._said()
                await asyncio.sleep(0.02)
        self.port, self.admin = int(found[1]), int(found[2])

    async def launch(self) -> None:
        self._before = len(self._said())
        argv = [sys.executable, "-m", "proxy", "serve", "--config", str(self._config)]
        with self.output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )

    async def ended(self) -> int:
        """The exit status."""
        assert self._process is not None
        async with asyncio.timeout(_PATIENCE):
            return await self._process.wait()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def stop(self) -> None:
        self.signal(signal.SIGTERM)
        assert await self.ended() == 0, self._said()

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL

    async def dispose(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def pull(self, path: str, buffer: int | None = None) -> Client:
        client = await Client.connect(self.port, buffer)
        await client.ask(path)
        return client

    async def get(self, path: str) -> Reply:
        async with await self.pull(path) as client:
            return await client.reply()

    async def ask_admin(self, path: str) -> Reply:
        async with await Client.connect(self.admin) as client:
            await client.ask(path, {"Connection": "close"})
            return await client.reply()

    def half_born(self) -> list[Path]:
        return list((self.folder / "ingest").iterdir())

    def _said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""


@contextlib.asynccontextmanager
async def site(folder: Path, url: str, settings: Mapping[str, Any] | None = None) -> AsyncIterator[Site]:
    """A running one."""
    found = Site(folder, url, settings)
    try:
        await found.start()
        yield found
    finally:
        await found.dispose()
