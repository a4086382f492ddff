"""`python -m spotd.sim`: serves an embedded cloud until SIGTERM or until its standard input closes."""

import argparse
import json
import signal
import sys
import threading
from types import FrameType

from spotd.sim import CloudSize, EmbeddedCloud


def main(arguments: list[str] | None = None) -> int:
    """Start a cloud, write one JSON line with its URLs, serve, stop."""
    options = _parser().parse_args(arguments)
    size = CloudSize(
        hosts=options.hosts,
        servers=options.servers,
        projects=options.projects,
        gpus_per_host=options.gpus_per_host,
        gpu_model=options.gpu_model,
        netbox=not options.no_netbox,
    )
    cloud = EmbeddedCloud(size, seed=options.seed)
    if options.latency:
        cloud.faults.latency["*"] = options.latency
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with cloud:
        if options.rate:
            cloud.live.start(options.rate)
        sys.stdout.write(json.dumps(_facts(cloud)) + "\n")
        sys.stdout.flush()
        if not options.detached:
            threading.Thread(target=_watch_input, args=(ended,), name="sim-input", daemon=True).start()
        ended.wait()
    return 0


def _watch_input(ended: threading.Event) -> None:
    while sys.stdin.readline():
        pass
    ended.set()


def _facts(cloud: EmbeddedCloud) -> dict[str, object]:
    facts: dict[str, object] = {
        "auth_url": cloud.auth_url,
        "nova_url": cloud.nova_url,
        "placement_url": cloud.placement_url,
        "clouds_yaml": cloud.clouds_yaml(),
    }
    if cloud.size.netbox:
        facts |= {"netbox_url": cloud.netbox_url, "netbox_token": cloud.netbox_token}
    return facts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m spotd.sim", description=__doc__)
    parser.add_argument("--hosts", type=int, default=120)
    parser.add_argument("--servers", type=int, help="how many servers; default: fill about 60%% of the GPUs")
    parser.add_argument("--projects", type=int, default=20)
    parser.add_argument("--gpus-per-host", type=int, default=8)
    parser.add_argument("--gpu-model", choices=("root", "children"), default="root")
    parser.add_argument("--no-netbox", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to every request")
    parser.add_argument("--rate", type=float, default=0.0, help="boots and deletes per second")
    parser.add_argument("--detached", action="store_true", help="do not end when standard input closes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
