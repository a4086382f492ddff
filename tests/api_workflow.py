"""The old tool's workflow as an operator's script does it: list, preview, execute, verify, log."""

from dataclasses import dataclass
from typing import Any

import requests
from waiting import until


class NobodyMayMove(AssertionError):
    """Every host has servers, or a guard against it."""


@dataclass(frozen=True)
class Operator:
    """Asks a daemon's API with a token."""

    url: str
    token: str

    def get(self, path: str) -> Any:
        """The data of a read."""
        answer = requests.get(f"{self.url}/api{path}", headers={"X-Auth-Token": self.token}, timeout=60)
        answer.raise_for_status()
        return answer.json()["data"]

    def post(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        """The answer to a write."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.post(
            f"{self.url}/api{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.token}", **named},
            timeout=60,
        )

    def movable(self) -> dict[str, str]:
        """A host that the guards let go, and where to."""
        for host in self.get("/hosts?limit=1000")["items"]:
            if host["servers"] != 0 or host["out_of_stock"] is not None:
                continue
            targets = self.post("/get-target-aggregate", {"host": host["name"]}).json()["data"]["targets"]
            for target in targets:
                wish = {"host": host["name"], "target_aggregate": target["name"]}
                if self.post("/preview-migration", wish).json()["data"]["allowed"]:
                    return wish
        raise NobodyMayMove("no host of this cloud is empty and may move")

    def moved(self, wish: dict[str, str], *, seconds: float) -> Any:
        """The move at its end."""
        answer = self.post("/execute-migration", wish)
        assert answer.status_code == 202, answer.text
        move_id = answer.json()["data"]["id"]

        def ended() -> Any:
            move = self.get(f"/moves/{move_id}")
            return move if move["state"] not in {"asked", "running"} else None

        return until(ended, seconds=seconds)
