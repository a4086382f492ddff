"""A Debian 12 whose systemd is PID 1, with spotd installed as the guide says, to be looked at from outside.

Its root file system is made once and kept; each session installs this spotd into it. It shares the network of
this machine, so that a cloud on loopback can be reached from there, and spotd from here.
"""

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SCRIPT = "SPOTD_TEST_SYSTEMD_LAB"
NAME = "rootfs-spotd"
WHEELS = "opt/wheels"
NEWEST_GLIBC = 36
"""Debian 12's, 2.36."""
# Whatever ends this process, also SIGKILL, closes the pipe that this one reads.
GUARD = 'trap "" HUP INT TERM; cat >/dev/null; exec "$0" down'


@dataclass(frozen=True)
class Machine:
    """The booted machine; commands run in it as root."""

    script: Path
    root: Path
    environ: Mapping[str, str]

    def lab(self, *arguments: str, seconds: float = 300) -> "subprocess.CompletedProcess[str]":
        """A verb of the lab's script; its failure is one of the test's."""
        done = subprocess.run(
            [self.script, *arguments],
            env=dict(self.environ),
            text=True,
            capture_output=True,
            check=False,
            timeout=seconds,
        )
        assert done.returncode == 0, f"{shlex.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def run(self, *command: str) -> str:
        """What a command says that must succeed."""
        return self.lab("run", *command).stdout

    def status(self, *command: str) -> tuple[int, str]:
        """The exit code of a command, and what it said."""
        done = subprocess.run(
            [self.script, "run", *command],
            env=dict(self.environ),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """A command that goes on; see `ended`."""
        return subprocess.Popen(
            [self.script, "run", *command],
            env=dict(self.environ),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def spotd(self, *arguments: str) -> str:
        """What a command of spotd's says at a shell of root's."""
        return self.run("spotd", *arguments, "--config.file", "/etc/spotd/spotd.yml")

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.run("systemctl", "show", "spotd", "-p", name, "--value").strip()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file in it."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=mode)
        file.chmod(mode)
        file.write_text(text, encoding="utf-8")

    def entries(self, since: float, *filters: str) -> list[dict[str, Any]]:
        """What journald was told of the service since then, with all fields in full."""
        # Not by a cursor: systemd 252 leaves out the entry behind it where filters are given.
        told = self.run("journalctl", "-u", "spotd", "-o", "json", "-a", f"--since=@{since:.6f}", *filters)
        return [json.loads(line) for line in told.splitlines()]


@contextmanager
def booted(script: Path) -> Iterator[Machine]:
    """The machine, up and with this tree's spotd in it; down again at the end, whatever ends this process."""
    state = Path(
        os.environ.get("OBS_LAB") or f"{os.environ.get('SPOTD_LAB', '/var/tmp/spotd-lab')}/observability"
    )
    root = state / NAME
    environ = {
        **os.environ,
        "OBS_LAB": str(state),
        "ROOTFS": str(root),
        "SUITE": "bookworm",
        "INCLUDE": "python3-venv",
        "HOSTNET": "1",
    }
    state.mkdir(parents=True, exist_ok=True)
    machine = Machine(script, root, environ)
    with (state / f"{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one session at a time
        _build(machine)
        machine.lab("down")  # another session's, that could not end it
        guard = subprocess.Popen(
            ["bash", "-c", GUARD, script], env=environ, stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            shutil.rmtree(
                root / "var/log/journal", ignore_errors=True
            )  # the log of this boot only, in memory
            machine.lab("up")
            _install(machine)
            yield machine
        finally:
            assert guard.stdin is not None
            guard.stdin.close()
            guard.wait(60)


def _build(machine: Machine) -> None:
    """The root file system, unless there is a whole one."""
    whole = machine.root / ".whole"
    if whole.exists():
        return
    machine.lab("down")
    subprocess.run(["rm", "-rf", "--one-file-system", str(machine.root)], check=True)
    machine.lab("build", seconds=900)
    whole.touch()


def _install(machine: Machine) -> None:
    """The libraries where they changed, and spotd itself."""
    wheels = machine.root / WHEELS
    wheels.mkdir(exist_ok=True)
    for old in wheels.glob("spotd-*.whl"):
        old.unlink()
    _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT))
    [wheel] = wheels.glob("spotd-*.whl")
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    have = machine.root / "opt/spotd/.libraries"
    if not have.exists() or have.read_text() != wanted:
        platforms = [f"manylinux_2_{minor}_{os.uname().machine}" for minor in range(5, NEWEST_GLIBC + 1)]
        _pip(
            *("download", "--only-binary=:all:", "--dest", str(wheels), "--find-links", str(wheels)),
            *("--python-version=3.11", "--implementation=cp"),
            *(f"--platform={platform}" for platform in [*platforms, f"manylinux2014_{os.uname().machine}"]),
            str(wheel),
        )
        machine.run("python3", "-m", "venv", "--clear", "/opt/spotd")
    install = ("/opt/spotd/bin/pip", "install", "-q", "--no-index", f"--find-links=/{WHEELS}")
    machine.run(*install, "--upgrade", "spotd")
    machine.run(*install, "--force-reinstall", "--no-deps", "spotd")
    have.write_text(wanted)
    machine.run("ln", "-sf", "/opt/spotd/bin/spotd", "/usr/local/bin/")


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "-q", *arguments], text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """A command that is not left behind, with what it started in the machine."""
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()
