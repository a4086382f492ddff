"""A living workload: servers boot, become ACTIVE and get deleted, repeatably for one seed."""

import threading
from random import Random

from spotd.sim.records import Host
from spotd.sim.servers import BootRequest
from spotd.sim.world import World

LOWER, UPPER = 0.35, 0.8
"""Shares of used GPUs below which only boots, and above which only deletes happen."""
SECONDS_PER_STEP = 0.2
FLAVOR_GPUS = (1, 1, 2, 4, 8)
TIDE_SHARE = 0.7
"""Of all events, those that follow the tide; the others are anybody's."""
ON_DEMAND = "-n3"
"""How the names of on-demand aggregates end."""


class Workload:
    """Changes the world; `step` does it in the caller's thread, `start` in its own."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = Random(f"{seed}/workload")
        self.rate_per_second = 1.0
        """How many boots and deletes happen in a second of `step`."""
        self.tide_seconds: float | None = None
        """In its first half customers leave the on-demand hosts, in its second they come; None: no tide."""
        self._elapsed = 0.0
        self._owed = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def step(self, seconds: float) -> int:
        """Let the events of so many seconds happen; how many there were."""
        with self.world.lock:
            self.world.advance()
            self._elapsed += seconds
            self._owed += seconds * self.rate_per_second
            events = int(self._owed)
            self._owed -= events
            for _ in range(events):
                self._event()
            return events

    def start(self, rate_per_second: float = 1.0, *, tide_seconds: float | None = None) -> None:
        """Let events happen by themselves until `stop`; a second call only changes the rate and the tide."""
        self.rate_per_second = rate_per_second
        self.tide_seconds = tide_seconds
        if self._thread is not None:
            return
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="sim-workload", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread of `start`, if there is one."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None

    def _run(self) -> None:
        while not self._stop.wait(SECONDS_PER_STEP):
            self.step(SECONDS_PER_STEP)

    def _event(self) -> None:
        if self.tide_seconds is not None and self.rng.random() < TIDE_SHARE:
            is_ebb = self._elapsed % self.tide_seconds < self.tide_seconds / 2
            if self._ebb() if is_ebb else self._flood():
                return
        used, total = self._gpus()
        share = used / total if total else 1.0
        boots = share < LOWER or (share < UPPER and self.rng.random() < 0.5)  # noqa: PLR2004 - as often
        if not boots or not self._boot():
            self._delete()

    def _gpus(self) -> tuple[int, int]:
        total = sum(host.gpus for host in self.world.computes.hosts.values())
        used = 0
        for provider in self.world.ledger.providers.values():
            used += sum(amount for name, amount in provider.used.items() if name.startswith("CUSTOM_GPU_"))
        return used, total

    def _boot(self) -> bool:
        hosts = list(self.world.computes.hosts.values())
        for _ in range(20):
            host = self.rng.choice(hosts)
            if (
                host.gpu_class
                and host.status == "enabled"
                and host.is_up
                and self.world.aggregates.of(host.name)
            ):
                return self._boot_on(host)
        return False

    def _boot_on(self, host: Host) -> bool:
        world, gpus = self.world, self.rng.choice(FLAVOR_GPUS)
        kind = (host.gpu_class or "").removeprefix("CUSTOM_GPU_").replace("_", "-")
        flavor = world.servers.flavor(f"n3-{kind}x{gpus}")
        if world.ledger.plan(host.provider_uuid, flavor.resources()) is None:
            return False
        project = self.rng.choice([one.id for one in world.identity.projects.values()])
        name = f"vm-{host.name}-{self.rng.randrange(10_000)}"
        world.begin_boot(
            BootRequest(name=name, flavor=flavor, project_id=project, user_id=project, host=host.name)
        )
        return True

    def _on_demand(self) -> list[Host]:
        """On-demand hosts that customers can come to."""
        return [
            host
            for host in self.world.computes.hosts.values()
            if host.status == "enabled"
            and host.is_up
            and any(one.name.endswith(ON_DEMAND) for one in self.world.aggregates.of(host.name))
        ]

    def _ebb(self) -> bool:
        """Somebody leaves the on-demand host that is the next to be empty."""
        staying = {host.name: self._staying(host.name) for host in self._on_demand()}
        busy = [name for name, servers in staying.items() if servers]
        if not busy:
            return False
        name = min(busy, key=lambda one: (len(staying[one]), one))
        self.world.delete_server(self.rng.choice(staying[name]), slowly=True)
        return True

    def _staying(self, host: str) -> list[str]:
        """Servers on the host that nobody deletes yet."""
        servers = self.world.servers
        return sorted(
            one for one in servers.on_host.get(host, ()) if servers.by_id[one].task_state != "deleting"
        )

    def _flood(self) -> bool:
        """Somebody takes an empty on-demand host, of the GPU type that will be the next to run dry."""
        empty: dict[str | None, list[Host]] = {}
        for host in self._on_demand():
            if not self.world.servers.on_host.get(host.name):
                empty.setdefault(host.gpu_class, []).append(host)
        if not empty:
            return False
        return self._boot_on(
            self.rng.choice(min(empty.values(), key=lambda hosts: (len(hosts), hosts[0].name)))
        )

    def _delete(self) -> None:
        hosts = [name for name, ids in self.world.servers.on_host.items() if ids]
        if not hosts:
            return
        server_id = self.rng.choice(sorted(self.world.servers.on_host[self.rng.choice(hosts)]))
        if self.world.servers.by_id[server_id].task_state != "deleting":
            self.world.delete_server(server_id, slowly=True)
