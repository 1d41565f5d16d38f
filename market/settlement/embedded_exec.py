"""Become a program that is not root and does not outlive its parent: the last step before PostgreSQL runs.

Run as a script between fork and exec, so that none of this happens in the forked half of a threaded process:

    python -I -S embedded_exec.py PARENT_PID UID GID FOLDER... -- COMMAND...

UID is -1 to stay who we are. The FOLDERs are those that the command will write to.

PostgreSQL refuses to run as root, but its binaries and its data may lie below a folder that only root may enter (a
checkout in /root, say). On Linux such a child gets the least of three sets of ambient capabilities with which it
reaches them: none; DAC_READ_SEARCH, to pass through folders; DAC_OVERRIDE as well, for containers that have no other
and for binaries that only root may execute. Sources: capabilities(7), prctl(2), access(2).
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

CANNOT_START = 126  # as a shell says "found, but may not be run"

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_CAP_AMBIENT = 1, 8, 28, 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITY_SETS = ((), (CAP_DAC_READ_SEARCH,), (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE))


class Linux:
    """The few system calls that Python does not offer."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)

    def prctl(self, option: int, *arguments: int) -> bool:
        """Return whether the kernel agreed."""
        padded = (*arguments, 0, 0, 0, 0)[:4]
        return bool(self._libc.prctl(option, *map(ctypes.c_ulong, padded)) == 0)

    def keep_capabilities(self) -> None:
        """Let them survive setuid, and let access(2) heed them: PostgreSQL asks access(2) about its own binary."""
        self.prctl(PR_SET_KEEPCAPS, 1)
        self.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)

    def permitted(self) -> int:
        sets = (ctypes.c_uint32 * 6)()
        self._libc.capget(self._header, sets)
        return int(sets[1])

    def use(self, effective: int, permitted: int) -> None:
        """Set the thread's capabilities; what is not made ambient is gone with the exec, for we are not root."""
        self._libc.capset(self._header, (ctypes.c_uint32 * 6)(effective, permitted, effective, 0, 0, 0))


def reaches(program: str, folders: list[str]) -> bool:
    return os.access(program, os.R_OK | os.X_OK) and all(os.access(f, os.R_OK | os.W_OK | os.X_OK) for f in folders)


def obstacle(program: str, folders: list[str]) -> str:
    """Name the outermost folder that stands in the way."""
    parents = [parent for path in (program, *folders) for parent in reversed(Path(path).parents)]
    return next((str(parent) for parent in parents if not os.access(parent, os.X_OK)), program)


def give_up_root(uid: int, gid: int, linux: Linux | None) -> None:
    if linux:
        linux.keep_capabilities()
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def raise_least(linux: Linux, program: str, folders: list[str]) -> bool:
    """Make ambient the least capabilities with which the program and the folders can be reached; False if none do."""
    permitted = linux.permitted()
    for capabilities in CAPABILITY_SETS:
        available = [c for c in capabilities if permitted & 1 << c]
        linux.use(sum(1 << c for c in available), permitted)
        if reaches(program, folders):
            return all(linux.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c) for c in available)
    return False


def main(arguments: list[str]) -> None:
    parent, uid, gid = map(int, arguments[:3])
    end = arguments.index("--")
    folders, command = arguments[3:end], arguments[end + 1 :]
    linux = Linux() if sys.platform == "linux" else None
    try:
        if uid >= 0:
            try:
                give_up_root(uid, gid, linux)
            except PermissionError as e:
                raise PermissionError(f"root may not become user {uid} here: start as a normal user") from e
            reachable = raise_least(linux, command[0], folders) if linux else reaches(command[0], folders)
            if not reachable:
                raise PermissionError(
                    f"PostgreSQL may not run as root, and user {uid} may not reach {obstacle(command[0], folders)}. "
                    "Start as a normal user; or give the container the capabilities DAC_READ_SEARCH and SETPCAP; or "
                    "put the program and the data folder where every user may enter."
                )
        if linux:  # after setuid, which clears it
            linux.prctl(PR_SET_PDEATHSIG, signal.SIGINT)  # PostgreSQL's "fast shutdown"
            if os.getppid() != parent:
                sys.exit(CANNOT_START)  # it died before it could be watched
        os.execv(command[0], command)
    except OSError as e:
        print(f"cannot start {command[0]}: {e}", file=sys.stderr)
        sys.exit(CANNOT_START)


if __name__ == "__main__":
    main(sys.argv[1:])
