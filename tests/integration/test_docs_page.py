"""The documentation page in a real browser that can reach nothing but this machine."""

import shutil
import subprocess
from pathlib import Path

import pytest
from daemons import quick_settings, running, write_clouds_file

from spotd.sim import CloudSize, EmbeddedCloud

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    *("--virtual-time-budget=20000", "--dump-dom"),
)


@pytest.mark.thorough
@pytest.mark.timeout(180)
def test_the_page_shows_every_operation_without_the_internet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium on the PATH")
    with EmbeddedCloud(CloudSize(hosts=4, projects=2), seed=5) as cloud:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds_file(cloud, tmp_path)))
        with running(quick_settings(cloud)) as face:
            done = subprocess.run(
                [browser, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"{face.url}/docs"],
                capture_output=True,
                text=True,
                check=False,
                timeout=150,
            )
            paths = face.get("/api/openapi.json").json()["paths"]

    shown = done.stdout.replace("\u200b", "").replace("<wbr>", "")  # where a path may be broken
    assert "opblock" in shown, done.stderr[-2000:]
    assert [path for path in paths if path not in shown] == []
