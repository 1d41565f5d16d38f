"""The demo: it sets itself up, trades through the public API, stops, and finds its data again."""

import json
import re
import stat
from pathlib import Path

from tests.service import debt_market


def test_the_demo_trades_and_finds_its_data_again(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    flags = ["--data-dir", str(folder), "--port", "0", "--loans", "50", "--quoted-loans", "20", "--orders-per-s", "100"]
    first = debt_market("demo", *flags, "--duration-s", "8")
    assert first.returncode == 0, first.stderr
    assert "(simulated loans, traders and money)" in first.stdout
    keys = json.loads((folder / "demo.json").read_text())["keys"]
    assert stat.S_IMODE((folder / "demo.json").stat().st_mode) == 0o600
    assert all(key["secret"] in first.stdout for key in keys.values())
    passwords = json.loads((folder / "demo.json").read_text())["passwords"]
    assert passwords.keys() == {"visitor", "operator"}
    assert all(password in first.stdout for password in passwords.values())
    trades, open_orders = last_line(first.stdout)
    assert trades > 0
    assert open_orders > 0

    second = debt_market("demo", *flags, "--duration-s", "2")
    assert second.returncode == 0, second.stderr
    assert keys["MM-1"]["secret"] in second.stdout
    assert passwords["operator"] in second.stdout
    assert "Registering" not in second.stdout
    assert last_line(second.stdout)[1] > 0

    for command in ("check", "replay"):
        done = debt_market(command, "--data-dir", str(folder))
        assert done.returncode == 0, done.stdout


def last_line(output: str) -> tuple[int, int]:
    """Return trades and open orders of the last line of the summary."""
    found = re.findall(r"([\d,]+) trades +([\d,]+) open orders", output)
    trades, open_orders = (int(number.replace(",", "")) for number in found[-1])
    return trades, open_orders
