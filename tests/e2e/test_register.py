"""The register from outside: the chain of title that everybody may read and verify, and the audit of it."""

import hashlib
import json
from pathlib import Path

import pytest

from gateway.cli import main
from market.settlement.title import Link, party, verify_title
from tests.e2e.rest import Json, Market, order


async def pages(market: Market, loan_id: str = "L1") -> list[Json]:
    found: list[Json] = []
    cursor = ""
    while True:
        page = (await market.anyone.get(f"/v1/loans/{loan_id}/assignments?limit=2{cursor}")).body
        found.append(page)
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def trade(market: Market, qty: str) -> None:
    await market.seller.post("/v1/orders", order("sell", qty=qty))
    assert (await market.buyer.post("/v1/orders", order("buy", qty=qty))).body["order_status"] == "filled"


async def test_anybody_verifies_a_chain_and_the_parties_know_themselves(
    market: Market, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for qty in ("300.00", "200.00"):
        await trade(market, qty)
    saved = await pages(market)
    items = [item for page in saved for item in page["items"]]
    assert [(item["n"], item["kind"], item["trade_id"]) for item in items] == [
        *((1, "issuance", None), (2, "trade", "T-1"), (3, "trade", "T-2")),
    ]
    title = verify_title(Link(**item) for item in items)
    parties = {}
    for who in (market.buyer, market.seller):
        told = (await who.get("/v1/loans/L1/party")).body
        position = (await who.get("/v1/positions")).body["items"][0]
        parties[told["party"]] = round(float(position["total"]) * 100)
        assert told["party"] == party(told["opening"], {market.buyer: "B", market.seller: "ORIG"}[who])
    assert title.holders == parties
    assert not {"B", "ORIG"} & {value for item in items for value in item.values()}
    assert (await market.anyone.get("/v1/loans/L1/party")).code == "auth_required"
    assert (await market.anyone.get("/v1/loans/L9/assignments")).code == "unknown_loan"

    files = [tmp_path / f"{i}.json" for i, _ in enumerate(saved)]
    for file, page in zip(files, saved, strict=True):
        file.write_text(json.dumps(page))
    assert exit_code("verify-title", *map(str, files)) == 0
    assert f"3 links, 10000.00 issued, head {title.head}" in capsys.readouterr().out
    assert exit_code("verify-title", str(files[1]), "--json") == 1
    assert "does not follow" in json.loads(capsys.readouterr().out)["error"]


async def test_a_chain_is_also_told_from_its_newest_link_on(market: Market) -> None:
    await trade(market, "300.00")
    await trade(market, "200.00")
    chain = [item for page in await pages(market) for item in page["items"]]
    first = (await market.anyone.get("/v1/loans/L1/assignments?sort=-n&limit=2")).body
    assert first["items"] == chain[:0:-1]
    rest = (await market.anyone.get(f"/v1/loans/L1/assignments?sort=-n&limit=2&cursor={first['next_cursor']}")).body
    assert rest == {"items": chain[:1], "next_cursor": None}
    assert (await market.anyone.get("/v1/loans/L1/assignments?sort=face")).field == "sort"


async def test_the_audit_tells_one_hash_over_all_chains(market: Market) -> None:
    before = (await market.anyone.get("/v1/audit")).body["titles"]
    await trade(market, "300.00")
    titles = (await market.anyone.get("/v1/audit")).body["titles"]
    assert titles["root"] != before["root"]
    lines, links = "", 0
    for loan in (await market.anyone.get("/v1/loans")).body["items"]:
        chain = [item for page in await pages(market, loan["loan_id"]) for item in page["items"]]
        links += len(chain)
        lines += f"{loan['loan_id']} {chain[-1]['hash']}\n" if chain else ""
    assert titles == {"links": links, "root": hashlib.sha256(lines.encode()).hexdigest()}


def exit_code(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code
