"""An embedded cloud in a process of its own, whose CPU and memory count as nobody's who is measured."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

GPUS_PER_HOST = 8
SERVERS_PER_HOST = 5
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudAddress:
    """Where a cloud is and how to log in, in a form that can be handed to another process."""

    clouds_file: str
    cloud: str
    netbox_url: str
    netbox_token: str

    def as_json(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, facts: dict[str, str]) -> Self:
        return cls(**facts)


@contextmanager
def served_cloud(
    hosts: int, *, latency_seconds: float = 0.0, changes_per_second: float = 0.0
) -> Iterator[CloudAddress]:
    """A cloud of so many GPU hosts, each with 8 GPUs as child providers and 5 servers on average."""
    command = [sys.executable, "-m", "spotd.sim", "--gpu-model", "children"]
    command += ["--hosts", str(hosts), "--servers", str(SERVERS_PER_HOST * hosts)]
    command += ["--projects", str(max(10, hosts)), "--gpus-per-host", str(GPUS_PER_HOST)]
    command += ["--latency", str(latency_seconds), "--rate", str(changes_per_second)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        clouds_file = Path(folder) / "clouds.yaml"
        clouds_file.write_text(json.dumps(facts["clouds_yaml"]), encoding="utf-8")  # JSON is YAML
        yield CloudAddress(
            clouds_file=str(clouds_file),
            cloud="embedded",
            netbox_url=facts["netbox_url"],
            netbox_token=facts["netbox_token"],
        )
        process.stdin.close()  # which ends it


def in_fresh_process(module: str, task: dict[str, Any]) -> Any:
    """Runs `module` as a script with the task as JSON on its standard input; returns the JSON it writes.

    Memory of a process only grows: what is measured must not share one with what was measured before.
    """
    paths = (str(ROOT), str(ROOT / "tests"))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OS_CLIENT_CONFIG_FILE": task["cloud"]["clouds_file"],
    }
    done = subprocess.run(
        [sys.executable, "-m", module],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout)
