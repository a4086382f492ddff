"""The clouds that the contract is asked of: the embedded one, and real ones named by the environment."""

import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

PATIENCE_SECONDS = 90.0
BETWEEN_LOOKS_SECONDS = 0.2
REQUEST_SECONDS = 120.0
WHY_NO_CLOUD = (
    "set SPOTD_TEST_CLOUD to the name of a cloud in clouds.yaml to run this against a real OpenStack"
)
WHY_NO_NETBOX = "set SPOTD_TEST_NETBOX_URL and SPOTD_TEST_NETBOX_TOKEN to run this against a real NetBox"

Answer = requests.Response


@dataclass(frozen=True)
class Login:
    """Who asks."""

    username: str
    password: str
    project: str
    user_domain: str = "Default"
    project_domain: str = "Default"

    def body(self) -> dict[str, Any]:
        user = {"name": self.username, "domain": {"name": self.user_domain}, "password": self.password}
        return {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": self.project, "domain": {"name": self.project_domain}}},
            }
        }


@dataclass
class CloudUnderTest:
    """Asks one cloud by plain HTTP."""

    name: str
    auth_url: str
    admin: Login
    member: Login | None
    http: requests.Session = field(default_factory=requests.Session)
    tokens: dict[Login, str] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)

    def as_clouds_yaml(self, name: str, login: Login) -> str:
        """A clouds.yaml in which this login stands under the name."""
        auth = {
            "auth_url": self.auth_url,
            "username": login.username,
            "password": login.password,
            "project_name": login.project,
            "user_domain_name": login.user_domain,
            "project_domain_name": login.project_domain,
        }
        return str(yaml.safe_dump({"clouds": {name: {"auth": auth}}}))

    def log_in(self, login: Login) -> Answer:
        return self.http.post(f"{self.auth_url}/auth/tokens", json=login.body(), timeout=REQUEST_SECONDS)

    def token(self, login: Login) -> str:
        if login not in self.tokens:
            answer = self.log_in(login)
            self.tokens[login] = answer.headers["X-Subject-Token"]
            for service in answer.json()["token"]["catalog"]:
                public = [e["url"] for e in service["endpoints"] if e["interface"] == "public"]
                self.urls[service["type"]] = public[0].rstrip("/")
        return self.tokens[login]

    def url(self, service: str) -> str:
        self.token(self.admin)
        return self.urls[service]

    def ask(
        self,
        service: str,
        method: str,
        path: str,
        version: str | None,
        *,
        login: Login | None = None,
        **more: Any,
    ) -> Answer:
        headers = {"X-Auth-Token": self.token(login or self.admin)}
        if version is not None:
            headers["OpenStack-API-Version"] = f"{service} {version}"
        headers |= more.pop("headers", {})
        headers = {key: value for key, value in headers.items() if value is not None}
        return self.http.request(
            method, self.url(service) + path, headers=headers, timeout=REQUEST_SECONDS, **more
        )

    def nova(self, method: str, path: str, version: str | None = "2.96", **more: Any) -> Answer:
        return self.ask("compute", method, path, version, **more)

    def placement(self, method: str, path: str, version: str | None = "1.39", **more: Any) -> Answer:
        return self.ask("placement", method, path, version, **more)

    def until(self, look: Callable[[], Any]) -> Any:
        """What `look` gives once it is true, or at the end of all patience."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not (seen := look()) and time.monotonic() < end:
            time.sleep(BETWEEN_LOOKS_SECONDS)
        return seen

    def empty_host(self) -> str:
        """A host that is enabled, up, without servers and in no availability zone of its own."""
        services = self.nova("GET", "/os-services?binary=nova-compute").json()["services"]
        good = [
            s["host"] for s in services if (s["status"], s["state"], s["zone"]) == ("enabled", "up", "nova")
        ]
        for host in sorted(good, key=lambda name: not name.startswith("spare")):
            if not self.nova("GET", f"/servers?all_tenants=1&host={host}").json()["servers"]:
                return host
        raise AssertionError("no empty host in this cloud")

    def busy_host(self) -> str:
        """A host with servers, in no availability zone of its own."""
        servers = self.nova("GET", "/servers/detail?all_tenants=1&status=ACTIVE").json()["servers"]
        hosts = [s["OS-EXT-SRV-ATTR:host"] for s in servers if s["OS-EXT-AZ:availability_zone"] == "nova"]
        return str(hosts[0])

    def service(self, host: str) -> dict[str, Any]:
        path = f"/os-services?binary=nova-compute&host={host}"
        return dict(self.nova("GET", path).json()["services"][0])

    def provider(self, host: str) -> dict[str, Any]:
        path = f"/os-hypervisors/detail?hypervisor_hostname_pattern={host}"
        hypervisors = self.nova("GET", path, "2.53").json()["hypervisors"]
        found = next(one for one in hypervisors if one["service"]["host"] == host)
        path = f"/resource_providers?name={found['hypervisor_hostname']}"
        return dict(self.placement("GET", path).json()["resource_providers"][0])

    def boot_body(self, name: str, **more: Any) -> dict[str, Any]:
        flavors = self.nova("GET", "/flavors/detail").json()["flavors"]
        smallest = min(flavors, key=lambda flavor: flavor["ram"])
        servers = self.nova("GET", "/servers/detail?all_tenants=1&limit=1").json()["servers"]
        image = servers[0]["image"]["id"]
        body = {"name": name, "flavorRef": smallest["id"], "imageRef": image, "networks": "none"}
        return {"server": {**body, **more}}

    def server(self, server_id: str, version: str = "2.96") -> dict[str, Any]:
        return dict(self.nova("GET", f"/servers/{server_id}", version).json()["server"])


@dataclass
class NetBoxUnderTest:
    """Asks one NetBox by plain HTTP."""

    name: str
    url: str
    token: str
    http: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str, token: str | None = "", keyword: str = "Token") -> Answer:
        headers = {} if token is None else {"Authorization": f"{keyword} {token or self.token}"}
        return self.http.get(self.url + path, headers=headers, timeout=REQUEST_SECONDS, allow_redirects=False)


def unique(what: str) -> str:
    """A name that nobody else has."""
    return f"spotd-contract-{what}-{uuid.uuid4().hex[:10]}"


def real_cloud(environment: Mapping[str, str] = os.environ) -> CloudUnderTest | None:
    """The cloud that the environment names, if it names one."""
    name = environment.get("SPOTD_TEST_CLOUD")
    if not name:
        return None
    path = Path(environment.get("OS_CLIENT_CONFIG_FILE", "clouds.yaml"))
    clouds = yaml.safe_load(path.read_text())["clouds"]
    member = clouds.get(f"{name}-demo")
    auth_url = str(clouds[name]["auth"]["auth_url"]).rstrip("/")
    return CloudUnderTest(name, auth_url, _login(clouds[name]), _login(member) if member else None)


def _login(cloud: Mapping[str, Any]) -> Login:
    auth = cloud["auth"]
    return Login(auth["username"], auth["password"], auth["project_name"])
