"""Writes docs/vectors/messages anew from the real service. Run it by ./dev messages; git shows what has changed."""

import tempfile
from pathlib import Path

import uvloop

from tests.e2e.golden import FOLDER, record, text_of
from tests.e2e.golden_scenes import SCENES
from tests.postgres import DatabaseServer, running_server


async def write_all(server: DatabaseServer) -> None:
    for former in FOLDER.glob("*.jsonl"):
        former.unlink()
    for name, scene in SCENES.items():
        dsn = await server.create_migrated_database()
        (FOLDER / f"{name}.jsonl").write_text(text_of(await record(dsn, scene)))
        await server.drop_database(dsn)
    await server.close()


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "postgres") as server:
        uvloop.run(write_all(server))
    print(f"{len(SCENES)} conversations in {FOLDER.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
