"""The public API from a program's side: REST calls, one socket, and a client that outlives its connections.

The import, the demo and the tests use it; nothing in it knows more than the contract says. docs/client.md shows how.
"""

from gateway.client.backoff import Backoff
from gateway.client.book import Book, BookError, Level
from gateway.client.errors import NO_ANSWER, ApiError, Disconnected, Fenced, NotSent, Overrun, Unanswered, Unresolved
from gateway.client.events import Connected, EpochChanged, Event, Lost
from gateway.client.keys import ApiKey
from gateway.client.loans import loan_body
from gateway.client.market import MarketClient
from gateway.client.rest import Client, retried
from gateway.client.socket import Socket
from gateway.client.subscriptions import ExecutionReport, Executions, Stream
from gateway.client.wire import Json, decimal, units

__all__ = [
    "NO_ANSWER",
    "ApiError",
    "ApiKey",
    "Backoff",
    "Book",
    "BookError",
    "Client",
    "Connected",
    "Disconnected",
    "EpochChanged",
    "Event",
    "ExecutionReport",
    "Executions",
    "Fenced",
    "Json",
    "Level",
    "Lost",
    "MarketClient",
    "NotSent",
    "Overrun",
    "Socket",
    "Stream",
    "Unanswered",
    "Unresolved",
    "decimal",
    "loan_body",
    "retried",
    "units",
]
