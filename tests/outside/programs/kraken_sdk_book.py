"""python-kraken-sdk's own order book client, told nothing but other URLs: every checksum must be right, under load."""

import asyncio
import os
from typing import Any

import kraken.base_api
from kraken.spot import SpotOrderBookClient
from kraken.spot.websocket import SpotWSClientBase

URL = os.environ["MARKET_URL"]
SYMBOLS = os.environ["MARKET_SYMBOLS"].split(",")
CHECKSUMS = int(os.environ.get("MARKET_CHECKSUMS", "10000"))
TIMEOUT_S = 240.0

kraken.base_api.SpotClient.URL = kraken.base_api.SpotAsyncClient.URL = URL
SpotWSClientBase.WS_URL = SpotWSClientBase.AUTH_WS_URL = URL.replace("http", "ws", 1)
SpotWSClientBase.API_V = "/v2?num=json"  # this client calculates with JSON numbers


class Book(SpotOrderBookClient):
    """Counts what the client itself says of each update."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth=depth)
        self.checked = self.wrong = 0

    async def on_book_update(self, pair: str, message: dict[str, Any]) -> None:
        if message.get("type") == "update":
            self.checked += 1
            self.wrong += not self.get(pair=pair)["valid"]


async def main() -> None:
    books = [Book(depth) for depth in (10, 25, 100)]
    for book in books:
        await book.start()
        await book.add_book(pairs=SYMBOLS)
    async with asyncio.timeout(TIMEOUT_S):
        while min(book.checked for book in books) * len(books) < CHECKSUMS and not any(book.wrong for book in books):
            await asyncio.sleep(0.2)
    told = [(book.depth, book.checked, book.wrong) for book in books]
    for book in books:
        await book.close()
    print("depth, checksums, wrong:", told)
    assert not any(book.exception_occur for book in books)
    assert sum(wrong for _, _, wrong in told) == 0
    assert sum(checked for _, checked, _ in told) >= CHECKSUMS


asyncio.run(main())
