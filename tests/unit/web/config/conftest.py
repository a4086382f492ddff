"""A server with a web configuration, on a free port."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_files import CA, SERVER, lay, written

from spotd.web.app import make_app
from spotd.web.config.file import WebConfigFile
from spotd.web.config.tls import FollowingContext
from spotd.web.server import WebServer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the configuration, the server's certificate and the clients' CA are."""
    lay(tmp_path, SERVER)
    CA.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "empty.crt").write_text("no certificate here\n")
    return tmp_path


@pytest.fixture
def serve(face: Any, folder: Path) -> Iterator[Any]:
    """Starts a server with a configuration and says its address."""
    servers: list[WebServer] = []

    def started(text: str) -> str:
        file = WebConfigFile(written(folder, text))
        app = make_app(**face.parts(), web_config=lambda: file.current().config)
        tls = FollowingContext.of(file.context) if file.has_tls else None
        server = WebServer(app, "127.0.0.1:0", tls=tls)
        server.start()
        servers.append(server)
        return f"{'https' if file.has_tls else 'http'}://{server.address}"

    yield started
    for server in servers:
        server.stop()
