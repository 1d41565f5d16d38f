"""A browser as far as the service can tell: cookies, JSON, CSRF token, Origin. Answers are held to the contract."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from tests.contract import check_answer
from tests.e2e.rest import Told
from tests.e2e.sockets import Socket

PASSWORD = "correct horse battery"


class Browser:
    """One person's browser. csrf: as the service said last."""

    def __init__(self, url: str, client: aiohttp.ClientSession) -> None:
        self.url = url
        self.client = client
        self.csrf: str | None = None

    @property
    def cookies(self) -> dict[str, str]:
        return {name: morsel.value for name, morsel in self.client.cookie_jar.filter_cookies(URL(self.url)).items()}

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Told:
        """Send a request as our page would. headers: an empty one is left out."""
        sent = {"Origin": self.url, "X-CSRF-Token": self.csrf or "", "Content-Type": "application/json", **headers}
        data = None if body is None else json.dumps(body).encode()
        sent = {name: value for name, value in sent.items() if value and (data or name != "Content-Type")}
        async with self.client.request(method, self.url + path, data=data, headers=sent) as response:
            told = await response.read()
            check_answer(method, path, response.status, response.headers, told)
            return Told(response.status, json.loads(told), response.headers)

    async def get(self, path: str, **headers: str) -> Told:
        return await self.call("GET", path, **headers)

    async def post(self, path: str, body: object = None, **headers: str) -> Told:
        return await self.call("POST", path, {} if body is None else body, **headers)

    async def sign_up(self, login: str, password: str = PASSWORD, **more: Any) -> Told:
        return self._signed(await self.post("/v1/users", {"login": login, "password": password, **more}))

    async def sign_in(self, login: str, password: str = PASSWORD) -> Told:
        return self._signed(await self.post("/v1/session", {"login": login, "password": password}))

    async def sign_out(self) -> Told:
        return await self.call("DELETE", "/v1/session")

    def _signed(self, told: Told) -> Told:
        self.csrf = told.body.get("csrf_token", self.csrf)
        return told

    @asynccontextmanager
    async def socket(self, **headers: str) -> AsyncIterator[Socket]:
        sent = {"Origin": self.url, **headers}
        async with self.client.ws_connect(self.url.replace("http", "ws", 1) + "/ws/v2", headers=sent) as connection:
            socket = Socket(connection)
            socket.greeting = await socket.frame()
            yield socket


@asynccontextmanager
async def browser(url: str) -> AsyncIterator[Browser]:
    jar = aiohttp.CookieJar(unsafe=True)  # cookies of an address, not a name
    async with aiohttp.ClientSession(cookie_jar=jar, skip_auto_headers={"Content-Type"}) as client:
        yield Browser(url, client)
