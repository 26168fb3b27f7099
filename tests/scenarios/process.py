"""Entrepot as a process of its own, seen from the loop of a scene."""

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.process import Entrepot
from tests.scenarios.client import Client, Reply
from tests.scenarios.house import NAME


class Site:
    """``settings`` is the configuration file; ports are the kernel's choice. ``output`` gathers all that it prints.
    ``under`` is as for ``Entrepot``."""

    def __init__(
        self, folder: Path, url: str, settings: Mapping[str, Any] | None = None, under: Sequence[str] = ()
    ) -> None:
        self._entrepot = Entrepot(folder, {"upstreams": {NAME: {"url": url}}, **(settings or {})}, under)
        self.folder = self._entrepot.cache
        self.output = self._entrepot.log
        self.config = self._entrepot.config

    @property
    def pid(self) -> int:
        return self._entrepot.process.pid

    @property
    def port(self) -> int:
        return self._entrepot.port

    @property
    def admin(self) -> int:
        return self._entrepot.admin

    async def start(self) -> None:
        """Until it says where it listens. Raises ProcessFailed where it ends first."""
        await asyncio.to_thread(self._entrepot.start)

    async def launch(self) -> None:
        """Without waiting for anything."""
        await asyncio.to_thread(self._entrepot.launch)

    async def announced(self) -> None:
        """Until the process that was launched last says where it listens. Raises ProcessFailed where it ends first."""
        await asyncio.to_thread(self._entrepot.announced)

    async def ended(self) -> int:
        """The exit status, when it ends by itself."""
        return await asyncio.to_thread(self._entrepot.process.ended)

    def signal(self, number: int) -> None:
        self._entrepot.process.signal(number)

    async def stop(self) -> None:
        await asyncio.to_thread(self._entrepot.stop)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def rewrite(self, **changes: Any) -> None:
        """Its file says so from now on."""
        document = yaml.safe_load(self.config.read_text())
        self.config.write_text(yaml.safe_dump({**document, **changes}))

    async def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """As ``Entrepot.command``."""
        return await asyncio.to_thread(self._entrepot.command, *words)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL

    async def dispose(self) -> None:
        await asyncio.to_thread(self._entrepot.dispose)

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


@contextlib.asynccontextmanager
async def site(
    folder: Path, url: str, settings: Mapping[str, Any] | None = None, under: Sequence[str] = ()
) -> AsyncIterator[Site]:
    """A running one."""
    found = Site(folder, url, settings, under)
    try:
        await found.start()
        yield found
    finally:
        await found.dispose()
