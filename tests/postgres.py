"""A real PostgreSQL server for tests, from the system's binaries.

Fixtures: `postgres_server`, one for each test process, which can be restarted, and
`postgres_dsn`, the address of a database of the test's own in it. A test that asks for
them is skipped where PostgreSQL is not installed; under `CI=true` it fails.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

__all__ = ["PostgresServer", "postgres_dsn", "postgres_server", "running_server"]

_STARTS_WITHIN = 30.0
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "16MB",
    "max_connections": "60",
    # The machine stays up, whatever becomes of the server: the kernel's cache will do.
    "fsync": "off",
    "full_page_writes": "off",
}


class PostgresServer:
    """One server with its own data, reached through a socket in its folder."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._log = folder / "log"
        self._numbers = count(1)
        self._free: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make the data folder."""
        options = ["--username=lucid", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [self._binaries / "initdb", "--pgdata", self._folder / "data", *options],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **_unprivileged(),
        )

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        command = [self._binaries / "postgres", "-D", self._folder / "data", "-k", self._folder]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dying_with_us(), *command, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **_unprivileged(),
            )
        self._wait()

    def _wait(self) -> None:
        give_up = time.monotonic() + _STARTS_WITHIN
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                running = self._process is not None and self._process.poll() is None
                if not running or time.monotonic() > give_up:
                    raise RuntimeError(f"PostgreSQL did not start:\n{self.log()}") from None
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: at once and in order (SIGINT), or like a crash (SIGQUIT)."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_STARTS_WITHIN)
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop and start."""
        self.stop(how)
        self.start()

    def log(self) -> str:
        """What the server said."""
        return self._log.read_text(errors="replace")

    def dsn(self, database: str, user: str = "lucid") -> str:
        """The address of a database."""
        return f"postgresql://{user}@/{database}?host={self._folder}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of an empty database, which is emptied again in the end."""
        name = self._free.pop() if self._free else self._new_database()
        try:
            yield self.dsn(name)
        finally:
            # Ten times as quick as another database.
            self.execute("DROP SCHEMA IF EXISTS lucid, lucid_jobs CASCADE", name)
            self.execute("DROP SCHEMA public CASCADE", name)
            self.execute("CREATE SCHEMA public", name)
            self._free.append(name)

    def _new_database(self) -> str:
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the administrator; returns its rows."""
        with psycopg.connect(self.dsn(database), autocommit=True) as db:
            cursor = db.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def dump(self, dsn: str) -> str:
        """The schema of a database, as `pg_dump` writes it."""
        command = [self._binaries / "pg_dump", "--schema-only", f"--dbname={dsn}"]
        dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        # Lines that guard the dump with a random word.
        return "\n".join(line for line in dumped.splitlines() if "restrict " not in line)


def _unprivileged() -> dict[str, object]:
    """As whom the server runs: it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _dying_with_us() -> list[str]:
    """So that no server is left behind by tests that were killed, where that can be had."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "INT", "--"] if setpriv is not None else []


def _binaries() -> Path | None:
    """Where PostgreSQL's programs are; Debian keeps them out of the search path."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    config = shutil.which("pg_config")
    if config is not None:
        asked = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True)
        places.append(Path(asked.stdout.strip()))
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    places += sorted(versions, key=lambda place: float(place.parent.name), reverse=True)
    found = (place for place in places if _complete(place))
    return next(found, None)


def _complete(place: Path) -> bool:
    return all((place / program).exists() for program in ("initdb", "postgres", "pg_dump"))


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A server of one's own, for as long as it is entered. Raises `LookupError` where
    PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        raise LookupError(
            "PostgreSQL's programs (initdb, postgres, pg_dump) are not there: make postgres"
        )
    with tempfile.TemporaryDirectory(prefix="lucid-postgres-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        server = PostgresServer(binaries, folder)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server; tests that stop it start it again."""
    try:
        with running_server() as server:
            yield server
    except LookupError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
def postgres_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty database."""
    with postgres_server.database() as dsn:
        yield dsn
