"""The real Prometheus and Alertmanager on free ports, and a receiver that writes down what it is told."""

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import yaml
from waiting import until

DEPLOY = Path(__file__).parents[1] / "deploy"
ALERTMANAGER = DEPLOY / "alertmanager" / "alertmanager.yml"
PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@dataclass(frozen=True)
class Told:
    """One notification: to which receiver, and what."""

    receiver: str
    body: Mapping[str, Any]

    def alerts(self, status: str) -> set[str]:
        """Names of the alerts in it that are in this status."""
        return {one["labels"]["alertname"] for one in self.body["alerts"] if one["status"] == status}


@dataclass
class Inbox:
    """Every receiver of the configuration at once; the path says which."""

    told: list[Told] = field(default_factory=list)
    url: str = ""

    def has(self, receiver: str, alert: str, status: str) -> bool:
        return any(one.receiver == receiver and alert in one.alerts(status) for one in list(self.told))

    def of(self, alert: str) -> set[str]:
        """Who was told of an alert."""
        return {
            one.receiver for one in list(self.told) if alert in one.alerts("firing") | one.alerts("resolved")
        }


@contextmanager
def inbox() -> Iterator[Inbox]:
    found = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.told.append(Told(self.path.strip("/"), body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def quickly(document: dict[str, Any], url: str) -> dict[str, Any]:
    """The shipped configuration with waits of a second, each receiver turned into a webhook of its name."""

    def hasten(route: dict[str, Any]) -> None:
        for key in ("group_wait", "group_interval"):
            route[key] = "1s"
        for inner in route.get("routes", []):
            hasten(inner)

    hasten(document["route"])
    document["receivers"] = [
        {"name": one["name"], "webhook_configs": [{"url": f"{url}/{one['name']}", "send_resolved": True}]}
        for one in document["receivers"]
    ]
    return document


@contextmanager
def started(command: list[str], url: str, log: Path) -> Iterator[str]:
    """A program that is ready when `url` says so."""
    with log.open("w") as lines:
        popen = subprocess.Popen(command, stdout=lines, stderr=lines, stdin=subprocess.DEVNULL)
        try:
            until(
                lambda: answers(url), seconds=20, why=f"{command[0]} is not ready: {log.read_text()[-500:]}"
            )
            yield url.removesuffix("/-/ready")
        finally:
            popen.terminate()
            popen.wait(10)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


@contextmanager
def alertmanager(box: Inbox, directory: Path) -> Iterator[str]:
    """Alertmanager on the shipped configuration made quick."""
    assert PROGRAM is not None
    config, port = directory / "alertmanager.yml", free_port()
    document = quickly(yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8")), box.url)
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    command = [PROGRAM, f"--config.file={config}", f"--storage.path={directory / 'alertmanager'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with started(command, f"http://127.0.0.1:{port}/-/ready", directory / "alertmanager.log") as url:
        yield url
