"""Commands that run a process of the market until it is stopped."""

from gateway.cli.shell import run_async
from gateway.demo.run import DemoSettings, demo
from gateway.process.config import Settings
from gateway.process.logs import set_up_logging
from gateway.process.serve import running_engine, running_gateway, running_standby, serve


class Serve(Settings):
    """
    Run the market: REST and WebSocket on one port, with a private PostgreSQL unless --database-url names another.

    Examples:
      debt-market serve                                    http://127.0.0.1:8080, data in ./data/market
      debt-market serve --embedded --data-dir D --port 0 --ready-file F
      debt-market serve --database-url postgresql://market@db/market --host 0.0.0.0
    """

    def run(self) -> int:
        set_up_logging(self.log_level, self.log_format)
        return run_async(serve(self))


class Engine(Settings):
    """
    Run the writing engine of a market by itself, joined to its gateways by Redis. One writes; a second does not start.

    Examples:
      debt-market engine --database-url postgresql://market@db/market --redis-url redis://redis:6379/0
    """

    def run(self) -> int:
        set_up_logging(self.log_level, self.log_format)
        return run_async(serve(self, running_engine))


class Standby(Settings):
    """
    Run an engine that waits until the writing one ends or goes silent, then takes over. The same settings as engine.

    Examples:
      debt-market standby --database-url postgresql://market@db/market --redis-url redis://redis:6379/0
    """

    def run(self) -> int:
        set_up_logging(self.log_level, self.log_format)
        return run_async(serve(self, running_standby))


class Gateway(Settings):
    """
    Run REST, WebSocket and page over an engine in another process. Any number of them serve one market.

    Examples:
      debt-market gateway --database-url postgresql://market@db/market --redis-url redis://redis:6379/0 --port 8081
    """

    def run(self) -> int:
        set_up_logging(self.log_level, self.log_format)
        return run_async(serve(self, running_gateway))


class Demo(DemoSettings):
    """
    Run a market to look at: a made-up loan book, and made-up traders who use the public API. No real money.

    Examples:
      debt-market demo
      debt-market demo --port 9000 --orders-per-s 200
    """

    def run(self) -> int:
        set_up_logging(self.log_level, self.log_format)
        return run_async(demo(self))
