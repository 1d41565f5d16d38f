"""The market-maker's terminal, as a command."""

import importlib.util

from pydantic import Field

from gateway.cli.calls import DEFAULT_URL, ConnectionSettings
from gateway.cli.shell import DONE, UsageError, refused, run_async
from gateway.client import ApiError, Disconnected, MarketClient


class Terminal(ConnectionSettings):
    """
    A market-maker's screen: own quotes and orders, the market, positions, fills (docs/terminal.md). F12 cancels all.

    It needs textual: pip install 'debt-market[tui]'. Give the key by DEBT_MARKET_KEY and DEBT_MARKET_SECRET or by a
    file, for a command line can be read by others.

    Examples:
      debt-market terminal --key-file ~/.debt-market-key
      DEBT_MARKET_KEY=ak_... DEBT_MARKET_SECRET=... debt-market terminal --url https://market.example --light
    """

    light: bool = Field(default=False, description="begin with light colours")

    def run(self) -> int:
        if importlib.util.find_spec("textual") is None:
            raise UsageError("the terminal needs textual: pip install 'debt-market[tui]'")
        self.require_key()
        why = run_async(self._show())
        return DONE if why is None else refused(why, as_json=False)

    async def _show(self) -> str | None:
        """Return why it ended, None if the user ended it."""
        from gateway.terminal.screen import Terminal as Screen  # noqa: PLC0415  of an extra that may be missing

        url = self.url or DEFAULT_URL
        try:
            async with MarketClient(url, self.api_key) as market:
                return await Screen(market, light=self.light).run_async()
        except ApiError as e:
            return f"{url} refused the key: {e}"
        except (Disconnected, TimeoutError) as e:
            return f"no answer from {url}: {e}"
