"""No secret in anything that spotd writes, shows or stores, whatever fails and however much is logged."""

import json
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from daemons import SPOTD, environment, finished, process, write_clouds_file
from waiting import until

from spotd.agents.state import AgentName
from spotd.cli import main
from spotd.clock import SystemClock
from spotd.clouds.keystone import CloudSession
from spotd.clouds.transport import unobserved
from spotd.daemon.region import build_region
from spotd.settings import load_settings
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind

PASSWORD = "Zq7-swordfish/pass&word"
TOKEN_V1 = "0123456789abcdeffedcba98765432100badc0de"
TOKEN_V2 = "nbt_Kq7mZpXw4rTy.LongSecretPartOfTheSecondVersion0042"
REDIS_PASSWORD = "Redis-Hunter2-pw"
PROXY_PASSWORD = "Proxy-Tr0ub4dor"

API = (
    *("config", "sources", "cache-stats", "hosts", "gpu-types", "out-of-stock", "host-aggregates"),
    *("plan", "rules", "journal", "journal/decisions", "freeze", "openapi.json", "nothing/here"),
)
HOSTS = re.compile(r'"name":"([^"]+)"')
CRASHING = """
import requests.adapters
send = requests.adapters.HTTPAdapter.send
def crash(self, request, **keywords):
    if "/auth/tokens" in request.url or request.url.rstrip("/").endswith("/v3"):
        return send(self, request, **keywords)
    raise ValueError(f"a library quotes all it has: {request.headers} {request.body}, $PASSWORD")
requests.adapters.HTTPAdapter.send = crash
from spotd.cli import main
main(prog_name="spotd")
"""
"""Runs `spotd` over a library with a bug that spotd cannot foresee."""


@dataclass
class Case:
    """A cloud in trouble, and how `spotd` is started beside it."""

    cloud: EmbeddedCloud
    clouds_file: Path
    environ: dict[str, str]
    program: tuple[str, ...] = SPOTD
    more: set[str] = field(default_factory=set)

    def secrets(self) -> set[str]:
        """All that must not be seen, Keystone's tokens included."""
        tokens = set(self.cloud.world.identity.tokens)
        return {PASSWORD, TOKEN_V1, TOKEN_V2, REDIS_PASSWORD, PROXY_PASSWORD} | tokens | self.more

    def allow(self) -> None:
        """Lets the password and both tokens in."""
        users = self.cloud.world.identity.users
        users["admin"] = replace(users["admin"], password=PASSWORD)
        self.cloud.world.netbox.tokens |= {TOKEN_V1, TOKEN_V2}


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with EmbeddedCloud(CloudSize(hosts=12, projects=2), seed=5) as cloud:
        clouds_file = write_clouds_file(cloud, tmp_path, password=PASSWORD)
        environ = environment(
            clouds_file,
            SPOTD_NETBOX__URL=cloud.netbox_url,
            SPOTD_NETBOX__TOKEN=TOKEN_V1,
            SPOTD_CACHE__SNAPSHOT_SECONDS="1",
            SPOTD_CACHE__BACKEND="redis",
            SPOTD_CACHE__REDIS_URL=f"redis://spotd:{REDIS_PASSWORD}@127.0.0.1:1/0",
            SPOTD_WEB__LISTEN_ADDRESS="127.0.0.1:0",
            STATE_DIRECTORY=str(tmp_path / "state"),
        )
        yield Case(cloud, clouds_file, environ)
        cloud.faults.clear()


def all_is_well(case: Case) -> None:
    case.allow()


def wrong_credentials(case: Case) -> None:
    case.environ["SPOTD_NETBOX__TOKEN"] = TOKEN_V2
    body = json.dumps({"detail": f"Invalid token {TOKEN_V2}"})
    case.cloud.faults.add(Fault(kind=FaultKind.STATUS, service="netbox", status=403, body=body))


def redirect(case: Case) -> None:
    case.allow()
    headers = {"Location": f"http://someone:{PROXY_PASSWORD}@127.0.0.1:1/?token={TOKEN_V1}"}
    for service in ("nova", "placement", "netbox"):
        case.cloud.faults.add(Fault(kind=FaultKind.STATUS, service=service, status=302, headers=headers))


def tls_error(case: Case) -> None:
    document = json.loads(case.clouds_file.read_text())
    auth = document["clouds"]["embedded"]["auth"]
    auth["auth_url"] = auth["auth_url"].replace("http:", "https:")
    case.clouds_file.write_text(json.dumps(document))
    case.environ["SPOTD_NETBOX__URL"] = case.cloud.netbox_url.replace("http:", "https:")


def proxy_error(case: Case) -> None:
    case.allow()
    proxy = f"http://someone:{PROXY_PASSWORD}@127.0.0.1:1"
    case.environ |= dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), proxy)
    for name in ("NO_PROXY", "no_proxy"):
        case.environ.pop(name, None)


def echo(case: Case) -> None:
    case.allow()
    body = json.dumps({"error": {"code": 500, "message": f"for token={TOKEN_V1} and password={PASSWORD}"}})
    for service in ("nova", "placement"):
        case.cloud.faults.add(Fault(kind=FaultKind.STATUS, service=service, status=500, body=body))


def crash(case: Case) -> None:
    case.allow()
    case.program = (sys.executable, "-c", CRASHING.replace("$PASSWORD", PASSWORD))


TROUBLES = (
    all_is_well,
    wrong_credentials,
    redirect,
    tls_error,
    proxy_error,
    echo,
    crash,
)


def ran(case: Case) -> Mapping[str, str]:
    """All that the daemon wrote, showed and stored."""
    flags = ("--log.level", "debug", "--log.format", "json")
    environ = case.environ | {"SPOTD_API__LOOPBACK_WRITES": "without-credential"}  # for the reload
    with process("run", *flags, environ=environ, program=case.program) as running:
        face = running.face()
        url = face.url
        until(lambda: (face.scrape().get("spotd_collections_total") or 0) >= 1, seconds=20)
        seen = {path: requests.get(url + path, timeout=5).text for path in ("/metrics", "/", "/-/ready")}
        seen |= {f"/api/{path}": requests.get(f"{url}/api/{path}", timeout=30).text for path in API}
        seen["refreshed"] = requests.post(f"{url}/api/refresh-all-data", timeout=60).text
        for host in HOSTS.findall(seen["/api/hosts"])[:1]:
            seen["servers"] = requests.get(f"{url}/api/host-vms/{host}", timeout=30).text
        reloaded = requests.post(f"{url}/-/reload", timeout=5)
        assert reloaded.status_code in {200, 500}
        seen["/-/reload"] = reloaded.text
        running.send(signal.SIGTERM)
        assert running.left(seconds=10) == 0
    stored = [path for path in Path(case.environ["STATE_DIRECTORY"]).rglob("*") if path.is_file()]
    seen |= {str(path): path.read_bytes().decode(errors="replace") for path in stored}
    return seen | {"run: stdout": "".join(running.out), "run: stderr": "".join(running.err)}


def commanded(case: Case, *arguments: str) -> Mapping[str, str]:
    done = finished(*arguments, environ=case.environ, program=case.program)
    name = arguments[0]
    assert done.returncode in (0, 1), done.stderr
    return {f"{name}: stdout": done.stdout, f"{name}: stderr": done.stderr}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_secret_is_written_shown_or_stored(trouble: Any, case: Case) -> None:
    trouble(case)

    with ThreadPoolExecutor(3) as pool:
        parts = [
            pool.submit(ran, case),
            pool.submit(commanded, case, "collect", "--format", "json", "--log.level", "debug"),
            pool.submit(commanded, case, "preflight", "--log.level", "debug"),
        ]
        written = {place: text for part in parts for place, text in part.result().items()}

    assert written["run: stderr"]
    assert '"netbox":{"url"' in written["/api/config"]
    assert written["refreshed"].startswith('{"success":')
    if trouble is all_is_well:
        assert len(case.cloud.world.identity.tokens) >= 3
        assert any(place.endswith("readings.json") for place in written)
    if trouble is crash:
        assert "a library quotes all it has" in written["run: stderr"]
    found = {
        (place, secret) for place, text in written.items() for secret in case.secrets() if secret in text
    }
    assert found == set(), [
        line for place, secret in found for line in written[place].splitlines() if secret in line
    ][:5]


def test_a_refused_file_is_not_quoted_with_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "bad.yml"
    netbox = {"url": f"http://u:{PROXY_PASSWORD}@h", "token": f"{TOKEN_V2} x", "tokn": TOKEN_V1}
    file.write_text(json.dumps({"netbox": netbox, "cache": {"redis_url": f"redis://:{REDIS_PASSWORD} @h"}}))

    done = CliRunner().invoke(main, ["check-config", str(file)])

    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) >= 3
    for secret in (PROXY_PASSWORD, TOKEN_V1, TOKEN_V2, REDIS_PASSWORD):
        assert secret not in done.output


def test_no_object_shows_a_secret(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.allow()
    for name, value in case.environ.items():
        if name.startswith(("SPOTD_", "OS_")):
            monkeypatch.setenv(name, value)
    settings = load_settings(None, case.environ | {"SPOTD_CACHE__BACKEND": "memory"}).settings

    class Silent:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments, **keywords: None

    region = build_region(settings, clock=SystemClock(), recorder=Silent(), observer=unobserved)
    region.collection.collect(force=frozenset(AgentName))
    session = CloudSession(settings)
    session.endpoint("compute")
    shown = [
        form(one)
        for one in (
            settings,
            settings.netbox,
            settings.cache,
            region,
            session,
            region.netbox,
            region.collection,
        )
        for form in (repr, str)
    ]
    region.close()
    session.close()

    assert case.cloud.world.identity.tokens
    assert [secret for secret in case.secrets() if any(secret in text for text in shown)] == []
