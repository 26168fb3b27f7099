"""A registry's login as a Docker ``config.json`` has it now: its own entries, or a helper that is installed.

Both are asked off the event loop. The file is read again when it changes. What a helper said holds for a minute, for
each request asks, and a helper is a process.
"""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import aiofiles.os

from proxy.config.files import FileRefused, read_file_off_loop
from proxy.core.credentials import Login
from proxy.core.docker_config import (
    LARGEST,
    DockerConfig,
    DockerConfigInvalid,
    helper_server,
    parse_docker_config,
    parse_helper_answer,
)
from proxy.core.file_versions import FileVersion

HELPER_LIMIT = 10.0  # seconds
_HELD = 60.0  # seconds


class _Told(NamedTuple):
    at: float
    login: Login | None


class DockerCredentials:
    """Of one registry. ``hosts`` are its names, the one that clients use and the one in its url, with ports."""

    def __init__(
        self,
        file: Path,
        hosts: Sequence[str],
        environ: Mapping[str, str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._hosts = tuple(dict.fromkeys(hosts))
        self._environ = environ
        self._now = now
        self._version: FileVersion | None = None
        self._content = b""
        self._config: DockerConfig | None = None
        self._told: dict[str, _Told] = {}  # by helper
        self._turn = asyncio.Lock()  # one reads or asks, the others find what it brought

    async def login(self, repository: str = "") -> Login | None:
        """For a repository of the registry; without one only entries for the whole registry count. None: the file has
        nothing for it, and pulls are anonymous. Raises FileRefused, with a sentence that holds no secret."""
        async with self._turn:
            config = await self._read()
            helper = config.helper(self._hosts)
            if helper is not None:
                return await self._ask(helper)
            try:
                login = config.login(self._hosts, repository)
            except DockerConfigInvalid as invalid:
                raise FileRefused(f"{self._file}: {invalid}") from None
            if login is None and config.store is not None:
                return await self._ask(config.store)
            return login

    async def _read(self) -> DockerConfig:
        now = time.time()
        try:
            found = await aiofiles.os.stat(self._file)
        except OSError as error:
            raise FileRefused(f"cannot read {self._file}: {error.strerror}") from None
        version = FileVersion.of(found)
        if self._config is None or version != self._version:
            content = await read_file_off_loop(self._file, LARGEST)
            if self._config is None or content != self._content:
                try:
                    self._config = parse_docker_config(content)
                except DockerConfigInvalid as invalid:
                    raise FileRefused(f"{self._file}: {invalid}") from None
                self._content = content
                self._told.clear()
            self._version = version if version.is_settled(now) else None
        return self._config

    async def _ask(self, helper: str) -> Login | None:
        told = self._told.get(helper)
        if told is None or self._now() - told.at > _HELD:
            server = helper_server(self._hosts[0])
            login = await asyncio.to_thread(ask_helper, helper, server, self._environ)
            told = self._told[helper] = _Told(self._now(), login)
        return told.login


def ask_helper(name: str, server: str, environ: Mapping[str, str]) -> Login | None:
    """What ``docker-credential-NAME get`` says of a registry. Raises FileRefused. Blocks for at most
    ``HELPER_LIMIT`` seconds."""
    program = f"docker-credential-{name}"
    path = shutil.which(program, path=environ.get("PATH")) if "/" not in name else None
    if path is None:
        raise FileRefused(f"{program} is not installed in any folder of PATH")
    try:
        done = subprocess.run(
            [path, "get"],
            input=server.encode(),
            capture_output=True,
            env=dict(environ),
            timeout=HELPER_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FileRefused(f"{program} gave no answer within {HELPER_LIMIT:g} s") from None
    except OSError as error:
        raise FileRefused(f"{program} cannot be run: {error.strerror}") from None
    try:
        login = parse_helper_answer(done.stdout)
    except DockerConfigInvalid as invalid:
        how = f"{invalid}" if done.returncode == 0 else f"it ended with code {done.returncode}"
        raise FileRefused(f"{program} has no login for {server}: {how}") from None
    return login
