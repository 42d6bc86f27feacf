"""Where to listen: how it is written, who can reach it, and what stands in the way."""

from __future__ import annotations

import resource
import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from supervisor.errors import SupervisorError
from supervisor.service.address import Address, listen_on, read_address
from supervisor.service.serving import allow_connections


@pytest.mark.parametrize(
    ("text", "shown", "is_private"),
    [
        ("127.0.0.1:7311", "http://127.0.0.1:7311", True),
        ("localhost:0", "http://localhost:0", True),
        ("[::1]:80", "http://[::1]:80", True),
        ("7311", "http://127.0.0.1:7311", True),
        ("0.0.0.0:7311", "http://0.0.0.0:7311", False),
        ("[::]:7311", "http://[::]:7311", False),
        ("lucid.example:80", "http://lucid.example:80", False),
        ("unix:/run/lucid.sock", "unix:/run/lucid.sock", True),
        ("unix:///run/lucid.sock", "unix:/run/lucid.sock", True),
    ],
)
def test_an_address_is_read(text: str, shown: str, is_private: bool) -> None:
    address = read_address(text)
    assert (str(address), address.is_private) == (shown, is_private)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "localhost:",
        "localhost:x",
        "h:99999",
        "a/b:1",
        "u@h:1",
        "unix:",
        "::1:80",
        "h:1/x",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SupervisorError, match=r"127\.0\.0\.1:7311"):
        read_address(text)


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(listen_on(Address("127.0.0.1", 0))) as listening:
        yield listening.getsockname()[1]


def test_a_port_that_is_taken_is_said(taken: int) -> None:
    with pytest.raises(SupervisorError, match=rf"127\.0\.0\.1:{taken}: Address already in use"):
        listen_on(Address("127.0.0.1", taken))


def test_a_host_that_is_not_known_is_said() -> None:
    with pytest.raises(SupervisorError, match=r"nobody\.invalid"):
        listen_on(Address("nobody.invalid", 1))


def test_a_unix_socket_is_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "lucid.sock"
    with closing(listen_on(Address("", 0, path))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [one.name for one in tmp_path.iterdir()] == ["lucid.sock"]


def test_a_unix_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "lucid.sock"
    listen_on(Address("", 0, path)).close()
    with closing(listen_on(Address("", 0, path))), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_unix_socket_that_somebody_listens_on_is_left(tmp_path: Path) -> None:
    path = tmp_path / "lucid.sock"
    with (
        closing(listen_on(Address("", 0, path))),
        pytest.raises(SupervisorError, match="another process listens"),
    ):
        listen_on(Address("", 0, path))


def test_a_file_that_is_no_socket_is_left(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(SupervisorError, match="something else"):
        listen_on(Address("", 0, path))
    assert path.read_text() == "mine"


def test_a_process_may_hold_as_many_connections_as_it_takes() -> None:
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, most))
    try:
        allow_connections()

        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
