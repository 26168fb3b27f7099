"""Files of logins are looked at often, and read when they may hold something else."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from proxy.core.allow import AllowRules
from proxy.core.tables import Tables
from proxy.login.logins import Logins
from proxy.login.material import LoginSecrets
from proxy.login.rules import LoginRules
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from tests.cast.visitors import PASSWORDS, htpasswd


class Reader:
    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, path: Path, limit: int) -> bytes:
        self.reads += 1
        return path.read_bytes()


async def looked(logins: Logins, read: Reader) -> bool:
    """Whether it read anything."""
    before = read.reads
    await logins.look()
    return read.reads > before


async def test_a_file_that_is_as_it_was_is_not_read_again(tmp_path: Path) -> None:
    file, read = htpasswd(tmp_path / "htpasswd"), Reader()
    rules = LoginRules(AllowRules.of((), logins=True, anonymous=False), file)
    with ThreadPoolExecutor(1) as pool:
        async with task_group() as group:
            logins = Logins(pool, Tables(time.time), Jobs(group), time.time, time.time, read)
            logins.configure(LoginSecrets.read(rules, read))
            assert await looked(logins, read), "it was written a moment ago"
            async with asyncio.timeout(60):
                while await looked(logins, read):
                    await asyncio.sleep(0.05)
            assert not await looked(logins, read)

            htpasswd(file, {"alice": PASSWORDS["alice"]})
            assert await looked(logins, read)
            assert set(logins._material.users) == {"alice"}

            file.write_text("alice:no hash\n")
            assert await looked(logins, read)
            assert await looked(logins, read), "what is refused is tried again"
            assert "htpasswd" in logins.trouble
            htpasswd(file)
            assert await looked(logins, read)
            assert (logins.trouble, set(logins._material.users)) == ("", {"alice", "bob"})

            logins.configure(LoginSecrets.read(rules, read))
            assert await looked(logins, read), "after a reload, which may have read it before somebody wrote"
