"""Connections to Redis as the bus needs them: a call is sent once, and one that takes too long has failed.

A URL like `redis+cluster://host:6379,host:6379` (or `rediss+cluster://`) names some nodes of a Redis Cluster.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from market.bus.cluster import slot_client
from market.bus.names import Names

CLUSTER: Final = "+cluster"  # ends the scheme
PORT: Final = 6379
TIMEOUT_S: Final = 2.0  # above every blocking read
TROUBLE: Final = (RedisError, OSError, TimeoutError)  # Redis is away, or too slow


@asynccontextmanager
async def connected(url: str, names: Names) -> AsyncIterator[Redis]:
    """A client for what a partition keeps. It never repeats a call: a command sent twice could be carried out twice."""
    once = Retry(NoBackoff(), 0)
    async with client_of(url, names, timeout_s=TIMEOUT_S, retry=once) as redis:
        yield redis


def client_of(url: str, names: Names, *, timeout_s: float, **options: Any) -> Redis:
    """Return a client for what a partition keeps; in a cluster, for nothing else. Raises ValueError for a bad URL."""
    options = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, **options}
    parts = urlsplit(url)
    if not parts.scheme.endswith(CLUSTER):
        return Redis.from_url(url, **options)
    nodes: list[dict[str, Any]] = [dict(parse_url(each)) for each in _nodes_of(parts)]
    addresses = [(str(node.pop("host")), int(node.pop("port", PORT))) for node in nodes]
    told = nodes[0]
    is_encrypted = told.pop("connection_class", None) is not None
    if told.pop("db", 0):
        raise ValueError("a Redis Cluster has no database but 0")
    return slot_client(addresses, names.commands, is_encrypted=is_encrypted, **options | told)


def is_cluster(url: str) -> bool:
    return urlsplit(url).scheme.endswith(CLUSTER)


def _nodes_of(parts: SplitResult) -> list[str]:
    """Return a URL for each node that a cluster's URL names."""
    user, at, hosts = parts.netloc.rpartition("@")
    if not all(hosts.split(",")):
        raise ValueError("the URL of a Redis Cluster names its nodes: redis+cluster://host:6379,host:6379")
    scheme = parts.scheme.removesuffix(CLUSTER)
    return [parts._replace(scheme=scheme, netloc=f"{user}{at}{host}").geturl() for host in hosts.split(",")]


def ending() -> bool:
    """Whether this task was cancelled: the client may swallow a cancellation that meets the answer to its call."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
