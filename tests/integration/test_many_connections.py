"""What a service takes when all readers of another gateway come at once."""

import asyncio
import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import web

from gateway.process.lifecycle import BACKLOG, allow_many_sockets, bound_socket

READERS = 2_500
KERNEL_MOST = Path("/proc/sys/net/core/somaxconn")


@pytest.fixture
def many_files() -> None:
    allow_many_sockets()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < READERS + 500:
        pytest.skip(f"this account may open {soft} files")


@pytest.mark.skipif(
    not KERNEL_MOST.exists() or int(KERNEL_MOST.read_text()) < READERS, reason="this kernel queues fewer connections"
)
async def test_all_readers_of_another_gateway_may_connect_before_the_first_is_accepted(many_files: None) -> None:
    """One that found no room would try again after a second, three, seven."""
    runner = web.AppRunner(web.Application())
    await runner.setup()
    with bound_socket("127.0.0.1", 0) as listening, ExitStack() as stack:
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
        address = listening.getsockname()
        for _ in range(READERS):  # the loop does not turn meanwhile, so that none is accepted
            stack.enter_context(socket.create_connection(address, timeout=0.9))
        await asyncio.wait_for(runner.cleanup(), 10)


def test_a_service_may_have_as_many_sockets_as_the_system_allows_it() -> None:
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before, 512), most))
    try:
        allow_many_sockets()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
