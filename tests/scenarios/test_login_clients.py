"""Real clients and each kind of login: a password, an issuer's token in its place, wrong ones, ones that are over, and
a right that ends while a body comes."""

import asyncio
import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from proxy.core.allow import AllowRule, AllowRules
from proxy.core.claims import Expected
from proxy.core.names import Digest
from proxy.login.rules import IssuerRules, LoginRules
from tests.cast import FaultUpstream, ManualClock, roles
from tests.cast.issuer import AUDIENCE, ISSUER, Issuer
from tests.cast.visitors import PASSWORDS, ask, basic, htpasswd
from tests.e2e import clients
from tests.e2e.images import CONFIG, LAYER, MACHINE, MANIFEST
from tests.e2e.named_clients import ORAS
from tests.e2e.scratch import scratch
from tests.process import ProcessFailed, run
from tests.scenarios.house import APP, NAME, House, HouseRules, MiB, blob_path
from tests.zoo.real.builds import CRANE, built

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ALICE = ("alice", PASSWORDS["alice"])
NO = r"(?i)unauthorized|authentication required|invalid username/password|401|denied|credentials"

Attempt = Callable[[str, str], object]
"""A pull of the image by a user and a password. Raises ProcessFailed."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time.time())


@pytest.fixture
def rules(issuer: Issuer, tmp_path: Path) -> HouseRules:
    """Alice pulls, and whoever has a token."""
    allow = AllowRules.of((AllowRule(("user:*",), (f"{NAME}/*",)),), logins=True, anonymous=False)
    issuers = (IssuerRules(Expected(ISSUER, AUDIENCE, None), tmp_path / "jwks.json"),)
    return HouseRules(logins=LoginRules(allow, htpasswd(tmp_path / "htpasswd"), issuers))


@pytest.fixture
def store() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with scratch() as folder:
        yield folder


def put_real_image(upstream: FaultUpstream) -> None:
    """One that clients unpack."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("etc/greeting"))
    layer = gzip.compress(archive.getvalue(), mtime=0)
    diffs = {"type": "layers", "diff_ids": [str(Digest.of(archive.getvalue()))]}
    config = json.dumps({"architecture": MACHINE, "os": "linux", "config": {}, "rootfs": diffs}).encode()
    parts = [
        {"mediaType": kind, "digest": str(upstream.blob(APP, content)), "size": len(content)}
        for kind, content in ((CONFIG, config), (LAYER, layer))
    ]
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]}
    upstream.manifest(APP, "v1", json.dumps(document).encode(), MANIFEST)


# ------------------------------------------------------------ the clients


@contextmanager
def crane(store: Path, image: str) -> Iterator[Attempt]:
    program = str(built(CRANE))

    def attempt(user: str, password: str) -> None:
        env = {"DOCKER_CONFIG": str(store)}
        run([program, "auth", "login", image.partition("/")[0], "--username", user, "--password", password], env)
        run([program, "pull", "--insecure", image, str(store / "image.tar")], env)

    yield attempt


@contextmanager
def oras(store: Path, image: str) -> Iterator[Attempt]:
    copy = [str(built(ORAS)), "copy", "--no-tty", "--from-plain-http", image, "--to-oci-layout", f"{store / 'out'}:v1"]
    yield lambda user, password: run([*copy, "--from-username", user, "--from-password", password])


@contextmanager
def skopeo(store: Path, image: str) -> Iterator[Attempt]:
    copy = [_there("skopeo"), "copy", "--src-tls-verify=false", f"docker://{image}", f"dir:{store / 'out'}"]
    env = {"HOME": str(store), "REGISTRY_AUTH_FILE": str(store / "auth.json")}
    yield lambda user, password: run([*copy, "--src-creds", f"{user}:{password}"], env)


@contextmanager
def podman(store: Path, image: str) -> Iterator[Attempt]:
    base = [_there("podman"), "--root", str(store / "root"), "--runroot", str(store / "run")]
    base += ["--tmpdir", str(store / "tmp"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]
    (store / "auth.json").write_text("{}")
    pull = [*base, "--events-backend", "none", "pull", "--quiet", "--tls-verify=false"]
    env = {"HOME": str(store), "REGISTRY_AUTH_FILE": str(store / "auth.json")}
    yield lambda user, password: run([*pull, "--creds", f"{user}:{password}", image], env)


@contextmanager
def containerd(store: Path, image: str) -> Iterator[Attempt]:
    _there("containerd")
    with clients.containerd_running(store) as socket:
        ctr = [_there("ctr"), "--address", str(socket), "images", "pull", "--plain-http", "--snapshotter", "native"]
        yield lambda user, password: run([*ctr, "--user", f"{user}:{password}", image])


@contextmanager
def docker(store: Path, image: str) -> Iterator[Attempt]:
    _there("dockerd")
    (store / "daemon.json").write_text("{}")
    with clients.dockerd(store, store / "daemon.json") as host:
        cli = [_there("docker"), "--config", str(store / "config"), "--host", host]

        def attempt(user: str, password: str) -> None:
            run([*cli, "login", "--username", user, "--password", password, image.partition("/")[0]])
            run([*cli, "pull", "--quiet", image])

        yield attempt


def _there(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"needs {tool} (apt-get install; see tests/run)")
    return found


CLIENTS = [crane, oras, skopeo, podman, containerd, docker]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
async def test_a_right_login_pulls_and_a_wrong_one_or_one_that_is_over_does_not(
    house: House,
    upstream: FaultUpstream,
    store: Path,
    issuer: Issuer,
    clock: ManualClock,
    tmp_path: Path,
    client: Callable[[Path, str], AbstractContextManager[Attempt]],
) -> None:
    put_real_image(upstream)
    image = f"127.0.0.1:{house.port}/{NAME}/{APP}:v1"
    token, over = issuer.token(now=clock()), issuer.token(now=clock() - 1000)

    def story() -> None:
        with client(store, image) as attempt:
            for refused in (("alice", PASSWORDS["bob"]), ("builder", over)):
                with pytest.raises(ProcessFailed, match=NO):
                    attempt(*refused)
            attempt(*ALICE)
            attempt("builder", token)
            htpasswd(tmp_path / "htpasswd", {"bob": PASSWORDS["bob"]})
            asyncio.run_coroutine_threadsafe(house.admissions.logins.look(), loop).result(60)
            clock.advance(700)  # the token's end, and what clocks may differ by
            for ended in (ALICE, ("builder", token)):
                with pytest.raises(ProcessFailed, match=NO):
                    attempt(*ended)

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(story)
    assert {line.user for line in house.lines if line.status == 200} >= {"alice", "builder"}


FETCHES = {
    "crane": lambda host, blob: [str(built(CRANE)), "blob", "--insecure", f"{host}/{NAME}/{APP}@{blob}"],
    "oras": lambda host, blob: [
        *(str(built(ORAS)), "blob", "fetch", "--plain-http", "--output", "-"),
        f"{host}/{NAME}/{APP}@{blob}",
    ],
}


@pytest.mark.parametrize("client", FETCHES)
async def test_a_body_that_comes_when_a_right_ends_is_finished_and_the_next_is_refused(
    house: House, upstream: FaultUpstream, store: Path, tmp_path: Path, client: str
) -> None:
    digest = upstream.blob(APP, content := os.urandom(2 * MiB))
    upstream.plays("blob", roles.holds(MiB, gate := asyncio.Event()))
    host = f"127.0.0.1:{house.port}"
    (store / "config.json").write_text(json.dumps({"auths": {host: {"auth": basic("alice")["Authorization"][6:]}}}))
    fetch = FETCHES[client](host, digest)
    env = {**os.environ, "DOCKER_CONFIG": str(store)}
    process = await asyncio.create_subprocess_exec(*fetch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert process.stdout is not None
    begun = await process.stdout.readexactly(1000)
    htpasswd(tmp_path / "htpasswd", {"bob": PASSWORDS["bob"]})
    await house.admissions.logins.look()
    assert (await ask(house, blob_path(digest), basic("alice"))).status == 401
    gate.set()
    rest, said = await process.communicate()
    assert (process.returncode, begun + rest == content) == (0, True), said
    refused = await asyncio.to_thread(subprocess.run, fetch, env=env, capture_output=True, check=False)
    assert refused.returncode != 0
    assert content[:1000] not in refused.stdout
