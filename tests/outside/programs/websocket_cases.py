"""The Autobahn test suite's own cases, sections 1 to 7 and 10, against the echo: not one may fail."""

import asyncio
import os
from collections import Counter

from kosoku import FailureError, run_fuzzingclient

SECTIONS = [f"{number}.*" for number in (1, 2, 3, 4, 5, 6, 7, 10)]
CASES_MIN = 240


async def main() -> None:
    url = os.environ["MARKET_URL"].replace("http", "ws", 1) + "/ws/echo"
    try:
        results = await run_fuzzingclient(url, SECTIONS, concurrency=4)
    except FailureError as failure:
        results = failure.results
    for result in results:
        if not result.passed:
            print(result.case_id, result.behavior, result.behavior_close, result.result, result.result_close)
    print(len(results), "cases:", dict(Counter(str(result.behavior) for result in results)))
    assert all(result.passed for result in results)
    assert len(results) >= CASES_MIN


asyncio.run(main())
