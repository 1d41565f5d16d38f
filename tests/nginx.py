"""The project's nginx configuration, run for real in front of processes of this machine."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port, wait_until_open

CONFIGURATION = Path(__file__).resolve().parents[1] / "operations" / "nginx.conf"
LISTEN = "listen 8080 backlog=4096;"
STOP_TIMEOUT_S = 60.0


def nginx_program() -> str:
    """Return nginx's path; skips the test where there is none."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("no nginx on this machine (Debian's package nginx-light)")
    return program


def configuration(folder: Path, gateways: Sequence[str], listen: str) -> Path:
    """Write the configuration with other places: of the gateways, of nginx, of its files. listen: `listen ...;`."""
    text = CONFIGURATION.read_text()
    for n, gateway in enumerate(gateways, 1):
        text = text.replace(f"server gateway-{n}:8080 ", f"server {gateway} ")
    assert "server gateway-" not in text
    assert text.count(LISTEN) == 1
    text = re.sub(r"/tmp/(nginx\S+);", rf"{folder}/\1;", text.replace(LISTEN, listen))
    path = folder / "nginx.conf"
    path.write_text(text)
    return path


@contextmanager
def running_nginx(folder: Path, gateways: Sequence[str], *, tls: str = "") -> Iterator[str]:
    """nginx in front of `gateways`, as host:port; yields its own. tls: what stands behind the port of `listen`."""
    program, address = nginx_program(), f"127.0.0.1:{free_port()}"
    folder.mkdir()
    folder.chmod(0o755)  # its workers are nobody
    path = configuration(folder, gateways, f"listen {address}{tls or ';'}")
    command = [program, "-p", str(folder), "-c", str(path), "-e", "stderr"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with (folder / "error.log").open("wb") as log:
        process = subprocess.Popen([*command, "-g", "daemon off;"], stderr=log)
    try:
        wait_until_open(address)
        yield address
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
