"""What a machine with Python alone does with this project: clone it, run the demo, build it, install what was built.

Run it by ./dev clean-machine; it takes a few minutes and the usual package registries. The machine is made of this one:
a PATH with every program but Node.js and npm, and an empty home. The user's settings of pip and npm stay in force.
Needs Python and git, nothing from the project's environment.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MISSING = {"node", "nodejs", "npm", "npx", "corepack", "yarn", "pnpm", "bun", "deno"}
START_TIMEOUT_S = 900.0
STOP_TIMEOUT_S = 60.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        environment = bare_environment(place)
        source = place / "debt-market"
        run("git", "clone", "--quiet", str(ROOT), str(source), env=environment, cwd=place)
        assert not (source / "gateway" / "web" / "dist").exists()
        demo = [sys.executable, "./dev", "demo", "--loans", "50", "--data-dir", str(place / "demo")]
        check_page(demo, environment, source, place / "demo.json", "./dev demo in a clone")
        built = place / "built"
        python = str(source / ".venv" / "bin" / "python")
        run(python, "-m", "hatchling", "build", "-d", str(built), env=environment, cwd=source)
        for pattern, name in (("*.whl", "wheel"), ("*.tar.gz", "source distribution")):
            [file] = built.glob(pattern)
            installed = place / name.replace(" ", "-")
            venv.create(installed, with_pip=True)
            pip = [str(installed / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            run(*pip, "--require-hashes", "-r", str(source / "requirements.lock"), env=environment, cwd=place)
            run(*pip, "--no-deps", str(file), env=environment, cwd=place)
            serve = [
                str(installed / "bin" / "debt-market"),
                "serve",
                "--embedded",
                "--data-dir",
                str(place / pattern[2:]),
            ]
            check_page(serve, environment, place, place / f"{pattern[2:]}.json", f"debt-market serve from the {name}")


def bare_environment(place: Path) -> dict[str, str]:
    """Return the environment of a machine with all of this one's programs but those that MISSING names."""
    programs, home = place / "programs", place / "home"
    programs.mkdir()
    home.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            if (
                program.name not in MISSING
                and not (programs / program.name).is_symlink()
                and os.access(program, os.X_OK)
            ):
                (programs / program.name).symlink_to(program)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEBT_MARKET_")}
    for name, file in (("PIP_CONFIG_FILE", ".config/pip/pip.conf"), ("NPM_CONFIG_USERCONFIG", ".npmrc")):
        if (Path.home() / file).exists():
            kept.setdefault(name, str(Path.home() / file))
    kept |= {"PATH": str(programs), "HOME": str(home)}
    assert not any(shutil.which(program, path=kept["PATH"]) for program in MISSING)
    return kept


def run(*command: str, env: dict[str, str], cwd: Path) -> None:
    subprocess.run(command, env=env, cwd=cwd, check=True)


def check_page(command: list[str], env: dict[str, str], cwd: Path, ready: Path, name: str) -> None:
    """Start a service and have it serve the page with every file that the page names."""
    began = time.monotonic()
    with started([*command, "--port", "0", "--ready-file", str(ready)], env, cwd, ready) as url:
        page, policy = fetched(url)
        files = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)
        assert "script-src 'self'" in policy, policy
        assert any(file.endswith(".js") for file in files), page
        assert any(file.endswith(".css") for file in files), page
        sizes = [len(fetched(url + file)[0]) for file in files]
        assert all(sizes), sizes
    print(f"ok  {name}: the page and its {len(files)} files, {time.monotonic() - began:.0f} s", flush=True)


@contextmanager
def started(command: list[str], env: dict[str, str], cwd: Path, ready: Path) -> Iterator[str]:
    """Run a service until the context ends; give its address once it says so."""
    process = subprocess.Popen(command, env=env, cwd=cwd, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"it did not start: {' '.join(command)}")
            time.sleep(0.1)
        yield str(json.loads(ready.read_text())["url"])
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


def fetched(url: str) -> tuple[str, str]:
    """Return an answer's text and its content security policy."""
    with urllib.request.urlopen(url) as response:
        return response.read().decode(), str(response.headers["Content-Security-Policy"])


if __name__ == "__main__":
    main()
