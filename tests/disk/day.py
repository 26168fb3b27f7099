"""A day of pulls as steps, each with its clients and what they must get."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tests.cast import FaultUpstream, roles
from tests.disk.findings import Finding, Kind, Wrong, judge, judge_cut
from tests.disk.goods import BUDGET, Good, Goods, Image
from tests.process import Entrepot, ProcessFailed
from tests.scenarios.client import Client, Cut
from tests.scenarios.house import NAME

_SETTLES = 2.0  # seconds that what goes on behind may take to be seen
_STILL = 0.015  # seconds without a call of the disk, which tell that nothing goes on


class Day:
    """One round of it, at one running process. ``calls`` counts those of the disk; ``findings`` grows."""

    def __init__(self, entrepot: Entrepot, up: FaultUpstream, goods: Goods, calls: Callable[[], int]) -> None:
        self.goods = goods
        self.findings: list[Finding] = []
        self.step = ""
        self.pinned = False  # as answered
        self._entrepot = entrepot
        self._up = up
        self._calls = calls

    # ------------------------------------------------------------ clients

    async def get(self, good: Good) -> bool:
        """True where it came right; what came otherwise is a finding."""
        try:
            async with await Client.connect(self._entrepot.port) as client:
                await client.ask(good.path)
                judge(await client.reply(), good.raw)
        except (Cut, Wrong, OSError, TimeoutError) as cause:
            self._found(cause, good)
            return False
        return True

    async def ask_admin(self, operation: str, words: Mapping[str, str]) -> list[Any]:
        """The lines of its answer; none where it honestly was not done."""
        body = json.dumps(words).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        try:
            async with await Client.connect(self._entrepot.admin) as client:
                await client.ask(f"/api/v1/{operation}", headers, "POST")
                await client.send(body)
                reply = await client.reply()
                lines = [json.loads(line) for line in reply.body.splitlines()]
        except (Cut, OSError, TimeoutError, ValueError) as cause:
            self.find(Kind.UNTYPED, f"{operation}: {cause!r}")
            return []
        if reply.status == 200 and "error" not in lines[-1]:
            return lines
        if reply.status not in (200, 503) or "error" not in lines[-1]:
            self.find(Kind.UNTYPED, f"{operation}: {reply.status} {lines}")
        return []

    async def readiness(self) -> str:
        """``ready``, ``degraded`` with what that concerns, or what else was said."""
        try:
            async with await Client.connect(self._entrepot.admin) as client:
                await client.ask("/readyz", {"Connection": "close"})
                reply = await client.reply()
                told = json.loads(reply.body)
        except (Cut, OSError, TimeoutError, ValueError) as cause:
            return repr(cause)
        if reply.status != 200:
            return f"{reply.status} {told}"
        return ": ".join([told["status"], *told.get("concerns", [])])

    def find(self, kind: Kind, words: str) -> None:
        self.findings.append(Finding(kind, self.step, words))

    def _found(self, cause: Exception, good: Good) -> None:
        if isinstance(cause, Cut):
            cause = judge_cut(cause, good.raw)
        what = "/".join(good.path.split("/")[-2:])[:24]
        self.find(cause.kind if isinstance(cause, Wrong) else Kind.UNTYPED, f"{what}: {cause or repr(cause)}")

    # ------------------------------------------------------------ steps

    async def take(self, step: str) -> None:
        """That step, behind which the process must be there and say how it is."""
        self.step = step
        await STEPS[step](self)
        await self._quiet()
        if not self.is_alive():
            self.find(Kind.ENDED, self._entrepot.log.read_text()[-300:])
        elif not (said := await self.readiness()).startswith(("ready", "degraded")):
            self.find(Kind.NOT_READY, said)

    async def _quiet(self) -> None:
        """What goes on behind the last answers is over: nothing arrives, and the disk is left alone."""
        deadline, calls = asyncio.get_running_loop().time() + _SETTLES, -1
        ingest = self._entrepot.cache / "ingest"
        while asyncio.get_running_loop().time() < deadline:
            before, calls = calls, self._calls()
            if calls == before and not any(ingest.glob("*")):
                return
            await asyncio.sleep(_STILL)

    def is_alive(self) -> bool:
        with contextlib.suppress(ProcessFailed):
            self._entrepot.process.ended(0)
            return False
        return True

    async def ballast(self) -> None:
        await self._pull(self.goods.ballast)

    async def cold_tag(self) -> None:
        await self.get(self.goods.app.manifest)

    async def cold_blob(self) -> None:
        await self.get(self.goods.app.layer)

    async def small_blob(self) -> None:
        await self.get(self.goods.app.config)

    async def join(self) -> None:
        """Two read behind one transfer, which stands still until both are there."""
        await self.get(self.goods.joined.manifest)
        await self.get(self.goods.joined.config)
        gate, layer = asyncio.Event(), self.goods.joined.layer
        self._up.plays(f"/v2/{self.goods.name}/blobs/{layer.digest}", roles.holds(200_000, gate))
        clients = [asyncio.create_task(self.get(layer)) for _ in range(2)]
        while not (self._asked(layer) or all(client.done() for client in clients)):
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        gate.set()
        await asyncio.gather(*clients)

    def _asked(self, good: Good) -> bool:
        return any(seen.target.endswith(good.digest) for seen in self._up.requests("blob"))

    async def hit(self) -> None:
        for good in (self.goods.app.layer, self.goods.app.config, self.goods.app.by_digest):
            await self.get(good)

    async def tag_confirmed(self) -> None:
        await self.get(self.goods.app.manifest)

    async def share(self) -> None:
        """A layer that another repository brought."""
        await self.get(self.goods.shared)

    async def tag_moved(self) -> None:
        self.goods.move_tag()
        await self._pull(self.goods.app)

    async def pin(self) -> None:
        await self._pull(self.goods.kept)
        self.pinned = bool(await self.ask_admin("pins", {"pin": self.pin_pattern}))

    async def purge(self) -> None:
        await self._pull(self.goods.old)
        await self.ask_admin("purge", {"target": f"{NAME}/{self.goods.name}:old"})

    async def evict(self) -> None:
        """More than there is room for; what went is removed when the step is over."""
        await self._pull(self.goods.large)
        deadline = asyncio.get_running_loop().time() + _SETTLES
        while self._stored() > BUDGET and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)

    async def _pull(self, image: Image) -> None:
        for good in image:
            await self.get(good)

    async def pins(self) -> list[str]:
        """The patterns that are pinned."""
        return [pin["pattern"] for line in await self.ask_admin("pins", {}) for pin in line.get("pins", ())]

    @property
    def pin_pattern(self) -> str:
        return f"{NAME}/{self.goods.name}:keep"

    def _stored(self) -> int:
        return sum(_size(path) for path in (self._entrepot.cache / "blobs").glob("*/*/*"))


STEPS: dict[str, Callable[[Day], Awaitable[None]]] = {
    "ballast": Day.ballast,
    "cold tag": Day.cold_tag,
    "cold blob": Day.cold_blob,
    "small blob": Day.small_blob,
    "join": Day.join,
    "hit": Day.hit,
    "tag confirmed": Day.tag_confirmed,
    "share": Day.share,
    "tag moved": Day.tag_moved,
    "pin": Day.pin,
    "purge": Day.purge,
    "evict": Day.evict,
}
"""In the order of the day."""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
