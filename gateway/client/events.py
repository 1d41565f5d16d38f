"""What happens to a client's connection, for who wants to know."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Connected:
    """Logged in and subscribed to everything again. number: of this connection, counted from 1."""

    number: int
    connection_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection has ended; another is being made. code: of its close frame, 1006 without one.

    1001 and 1012 say that the service goes away or restarts, 4001 that the key is no longer good, 4008 that this client
    read too slowly.  Quotes end with their connection.
    """

    code: int


@dataclass(frozen=True, slots=True)
class EpochChanged:
    """The market has restarted or rebuilt its memory: quotes are gone, books begin anew. Orders and fills stand.

    partition: whose loans that is true of, in a market of several.
    """

    before: int
    now: int
    partition: int = 0


Event = Connected | Lost | EpochChanged
