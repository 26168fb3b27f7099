"""What systemd is told and what it passes on: with a socket that hears it, and sockets that were open before."""

import os
import queue
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy.activation import NONE_PASSED, Passed, passed
from proxy.config import load
from proxy.service_manager import ServiceManager, status_words, watchdog_period
from tests.process import Entrepot, tail

PASSING = """
import os, sys
names, descriptors, told = sys.argv[1], map(int, sys.argv[2].split(",")), sys.argv[3]
for place, descriptor in enumerate(descriptors):
    os.dup2(descriptor, 3 + place)
count = str(names.count(":") + 1)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=count, LISTEN_FDNAMES=names)
os.environ.update(NOTIFY_SOCKET=told, WATCHDOG_USEC="200000")
os.execv(sys.argv[4], sys.argv[4:])
"""
"""What systemd does for a unit with sockets."""


class Ear:
    """The service manager's end, which listens all the time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told: queue.Queue[bytes] = queue.Queue()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def next(self) -> dict[str, str]:
        """What it is told next, signs of life left out."""
        while (told := self.heard()) == {"WATCHDOG": "1"}:
            pass
        return told

    def heard(self) -> dict[str, str]:
        words = self._told.get(timeout=60).decode().split("\n")
        return dict(word.split("=", 1) for word in words)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join()
        self._sock.close()

    def _listen(self) -> None:
        while told := self._sock.recv(4096):
            self._told.put(told)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def ear(tmp_path: Path, stack: ExitStack) -> Ear:
    ear = Ear(tmp_path / "notify")
    stack.callback(ear.close)
    return ear


def opened(stack: ExitStack, where: "tuple[str, int] | str") -> socket.socket:
    sock = stack.enter_context(socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET))
    sock.bind(where)
    sock.listen()
    return sock


def asking(stack: ExitStack, sock: socket.socket, path: str) -> socket.socket:
    """A client that has connected and asked, whether anybody answers or not."""
    client = stack.enter_context(socket.socket(sock.family))
    client.settimeout(60)
    client.connect(sock.getsockname())
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return client


def status(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received.split(b" ")[1]


def test_the_life_of_a_unit_with_sockets(tmp_path: Path, stack: ExitStack, ear: Ear) -> None:
    pulls, admin = opened(stack, ("127.0.0.1", 0)), opened(stack, str(tmp_path / "admin.sock"))
    descriptors = pulls.fileno(), admin.fileno()
    under = [sys.executable, "-c", PASSING, "listen:admin", ",".join(map(str, descriptors)), str(ear.path)]
    nowhere = {"registry.test": {"url": "http://127.0.0.1:9"}}
    settings = {"upstreams": nowhere, "admin_socket": str(tmp_path / "admin.sock")}
    entrepot = Entrepot(tmp_path / "entrepot", settings, under, descriptors)
    stack.callback(entrepot.dispose)

    waiting = asking(stack, pulls, "/v2/")
    entrepot.start()
    assert entrepot.port == pulls.getsockname()[1]
    assert status(waiting) == b"200", "it waited in the socket"
    assert status(asking(stack, admin, "/healthz")) == b"200"

    ready = ear.next()
    assert (ready["READY"], ready["STATUS"].startswith("serves pulls on 127.0.0.1:")) == ("1", True)
    while ear.heard() != {"WATCHDOG": "1"}:
        pass
    assert entrepot.command("reload").returncode == 0
    began = ear.next()
    assert (began["RELOADING"], int(began["MONOTONIC_USEC"]) > 0) == ("1", True)
    assert ear.next() == {"READY": "1"}
    good = entrepot.config.read_text()
    entrepot.config.write_text(f"{good}pins: 7\n")
    refused = entrepot.command("reload")
    assert (refused.returncode, "pins" in refused.stderr) == (2, True), refused
    assert [sorted(ear.next()) for _ in range(2)] == [["MONOTONIC_USEC", "RELOADING"], ["READY"]], "all as it was"

    entrepot.config.write_text(good)
    assert entrepot.process.stop() == 0, tail(entrepot.log)
    assert ear.next()["STOPPING"] == "1"
    assert (tmp_path / "admin.sock").exists(), "it is the unit's"

    between = asking(stack, pulls, "/v2/")
    entrepot.start()
    assert status(between) == b"200", "a restart costs no connection"
    entrepot.stop()


# ------------------------------------------------------------ what is passed


def environ(names: str, count: int = 1) -> dict[str, str]:
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names}


def given(tmp_path: Path, sock: socket.socket, names: str, config: str = "listen: 127.0.0.1:5000\n") -> Passed:
    (tmp_path / "entrepot.yaml").write_text(config)
    settings = load(tmp_path / "entrepot.yaml", {"HOME": "/home/me"}).settings
    return passed(environ(names), settings, os.dup(sock.fileno()))


def test_a_socket_is_known_by_its_name_and_family(tmp_path: Path, stack: ExitStack) -> None:
    plain, unix = opened(stack, ("127.0.0.1", 0)), opened(stack, str(tmp_path / "sock"))
    for name, sock, where in (("listen", plain, 0), ("admin", plain, 2), ("admin", unix, 3)):
        found = given(tmp_path, sock, name)
        [[mine]] = [each for each in found if each]
        stack.enter_context(mine)
        assert found[where] == (mine,)
        assert mine.getsockname() == sock.getsockname()
        assert not os.get_inheritable(mine.fileno())


def test_what_is_for_another_process_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "entrepot.yaml").write_text("anonymous: false\n")
    settings = load(tmp_path / "entrepot.yaml", {"HOME": "/home/me"}).settings
    assert passed({}, settings) == NONE_PASSED
    assert passed(environ("listen") | {"LISTEN_PID": "1"}, settings) == NONE_PASSED


@pytest.mark.parametrize(
    ("names", "where", "said"),
    [
        ("entrepot.socket", ("127.0.0.1", 0), "fits no setting"),
        ("", ("127.0.0.1", 0), "fits no setting"),
        ("loopback", ("127.0.0.1", 0), "the configuration has no loopback"),
        ("listen", ("0.0.0.0", 0), "of the configuration on loopback"),
        ("admin", ("0.0.0.0", 0), "of the configuration on loopback"),
        ("listen", "unix", "a Unix socket, which only admin can be"),
    ],
)
def test_a_socket_that_is_open_to_more_than_the_configuration_says_is_refused(
    tmp_path: Path, stack: ExitStack, names: str, where: "tuple[str, int] | str", said: str
) -> None:
    sock = opened(stack, str(tmp_path / where) if isinstance(where, str) else where)
    with pytest.raises(OSError, match=said):
        given(tmp_path, sock, names)


def test_a_socket_that_does_not_listen_is_refused(tmp_path: Path, stack: ExitStack) -> None:
    sock = stack.enter_context(socket.socket())
    with pytest.raises(OSError, match="does not listen"):
        given(tmp_path, sock, "listen")


# ------------------------------------------------------------ what is told


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_of_another_process_is_not_ours(given: dict[str, str], expected: float | None) -> None:
    assert watchdog_period(given, 7) == expected


def test_a_status_is_told_when_it_changes(ear: Ear) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(ear.path)})
    manager.ready("serves")
    manager.pulse("serves")
    manager.pulse(status_words("serves", lambda: {"job b": "fails", "disk": "is full"}))
    assert [ear.heard(), ear.heard()] == [
        {"READY": "1", "STATUS": "serves"},
        {"STATUS": "serves; degraded: disk, job b"},
    ]


def test_an_abstract_socket_is_spoken_to_as_well(stack: ExitStack) -> None:
    name = f"entrepot-test-{os.getpid()}"
    sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    sock.bind(f"\0{name}")
    ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).stopping("stops\nREADY=1")
    assert sock.recv(4096) == b"STOPPING=1\nSTATUS=stops READY=1"


def test_what_is_not_taken_at_once_is_told_later_and_signs_of_life_are_not(
    tmp_path: Path, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    deaf.bind(str(tmp_path / "deaf"))
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "deaf"), "WATCHDOG_USEC": "1000000"})
    pulses = 0
    while "does not take" not in caplog.text:
        manager.pulse("")
        pulses += 1
    manager.ready("serves")
    for _ in range(3):
        manager.pulse("serves")
    assert [deaf.recv(4096) for _ in range(pulses - 1)] == [b"WATCHDOG=1"] * (pulses - 1)
    manager.pulse("serves")
    assert deaf.recv(4096) == b"READY=1\nSTATUS=serves"
    assert deaf.recv(4096) == b"WATCHDOG=1"
    assert caplog.text.count("does not take") == 1


def test_one_that_is_gone_costs_a_line_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager({}).ready("serves")
    assert caplog.text == ""
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("serves")
    assert "systemd does not take what it is told" in caplog.text
