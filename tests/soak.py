"""The long runs behind what the product promises, with counts as arguments.

usage: python -m tests.soak [--operations 1000000] [--events 1000000] [--commands 100000]
                            [--kills 100] [--awaits 60] [--cuts 200] [--reconnects 1000] [--rounds 20]

The book against its plain reference, all money against exact fractions, the whole venue under random commands, and an
engine that is killed and cut off, a connection that vanishes amid its frames, our client on a line that breaks, and
every process of server mode replaced under load. The first difference ends it with a message that names seed and step.
A count of 0 leaves a run out. The test suite runs a short version of each.
"""

import argparse
import asyncio

from tests.e2e import client_kills, reconnects, rolling
from tests.integration.faults import campaign
from tests.property import book_vs_reference, exact_world
from tests.property.test_venue_random_world import COMMANDS, run_world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000, help="of the order book against its reference")
    parser.add_argument("--events", type=int, default=1_000_000, help="of markets against ones in exact fractions")
    parser.add_argument("--commands", type=int, default=100_000, help="of the venue's random worlds")
    parser.add_argument("--kills", type=int, default=100, help="kills at random moments under load")
    parser.add_argument("--awaits", type=int, default=60, help="kills at the first N suspensions of the commit path")
    parser.add_argument("--cuts", type=int, default=200, help="links cut after the n-th message")
    parser.add_argument(
        "--reconnects", type=int, default=1_000, help="ends of a connection amid its frames; then of our client's"
    )
    parser.add_argument("--rounds", type=int, default=20, help="rolling restarts of all processes of server mode")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.operations:
        book_vs_reference.main(["--operations", str(arguments.operations), "--seed", str(arguments.seed)])
    if arguments.events:
        exact_world.run_worlds(arguments.seed, arguments.events)
    if arguments.commands:
        worlds = -(-arguments.commands // COMMANDS)  # one world wears out: its loans are repaid, its ids are used up
        seen = [run_world(arguments.seed + i, COMMANDS) for i in range(worlds)]
        trades, refusals, booked = map(sum, zip(*seen, strict=True))
        counted = f"{trades} trades, {refusals} refusals without a trace, {booked} servicing events"
        print(f"venue: {worlds} worlds of {COMMANDS} commands, {counted}, every sum conserved after each")
    counts = {name: getattr(arguments, name) for name in ("kills", "awaits", "cuts", "seed")}
    asyncio.run(campaign.run_campaigns(**counts))
    if arguments.reconnects:
        reconnects.run_campaign(lives=arguments.reconnects, seed=arguments.seed)
        client_kills.run_campaign(cuts=arguments.reconnects, seed=arguments.seed)
    if arguments.rounds:
        asyncio.run(rolling.run_campaign(rounds=arguments.rounds))


if __name__ == "__main__":
    main()
