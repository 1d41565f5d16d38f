/** The ticket against an API that prices as the real one does: face × price, half up, and a fee. */
import { beforeEach, expect, it, vi } from "vitest";
import { decimal, divide, units } from "../src/lib/money";
import { statusInfo } from "../src/lib/status.svelte";
import { Ticket } from "../src/lib/ticket.svelte";
import type { Loan } from "../src/lib/types";

const LOAN = { loan_id: "L1", currency: "USD", rulebook: { lot: "0.01", min_face: "1.00" } } as Loan;
const asked: URLSearchParams[] = [];

function answer(query: URLSearchParams): Record<string, unknown> {
  const face = units(query.get("qty")) as bigint;
  const byYield = query.get("yield");
  // A made-up loan: one point of yield above 10 % costs one point of price.
  const price = byYield ? 10_000n - ((units(byYield, 6) as bigint) - 100_000n) / 100n : (units(query.get("price") ?? "98.00") as bigint);
  const principal = divide(face * price * 96n, 1_000_000n); // factor 0.96
  const fee = divide(principal * 3n, 1_000n);
  const ytm = 100_000n + (10_000n - price) * 100n;
  return { price: decimal(price), qty: decimal(face), principal: decimal(principal), accrued: "0.00", fee: decimal(fee), total: decimal(principal + fee), ytm: decimal(ytm, 6), unfilled_qty: "0.00", fills: [] };
}

beforeEach(() => {
  asked.length = 0;
  vi.useFakeTimers();
  vi.stubGlobal("fetch", (path: string) => {
    const query = new URL(path, "http://x").searchParams;
    asked.push(query);
    return Promise.resolve(new Response(JSON.stringify(answer(query))));
  });
});

const settled = async (): Promise<void> => {
  await vi.advanceTimersByTimeAsync(1_000);
};

it("a price gives its discount at once and its yield from the API", async () => {
  const ticket = new Ticket(() => LOAN);
  ticket.face = "100.00";
  ticket.typedPrice("97.50");
  expect(ticket.discount).toBe("2.50");
  await settled();
  expect(ticket.yield).toBe("12.5");
  expect(asked).toHaveLength(1);
});

it("a yield gives its price and discount", async () => {
  const ticket = new Ticket(() => LOAN);
  ticket.kind = "yield";
  ticket.typedYield("14");
  await settled();
  expect([ticket.price, ticket.discount]).toEqual(["96.00", "4.00"]);
  expect(asked[0]?.get("yield")).toBe("0.140000");
  expect(ticket.order).toBeNull(); // no quantity yet
});

it("typing is asked once it pauses", async () => {
  const ticket = new Ticket(() => LOAN);
  for (const text of ["9", "97", "97.", "97.2", "97.25"]) ticket.typedPrice(text);
  await settled();
  expect(asked.map((query) => query.get("price"))).toEqual(["97.25"]);
});

it.each(["1.00", "7.77", "100.00", "12345.67", "999999.99"])("cash of %s buys as much as it can, and never more", async (cash) => {
  const ticket = new Ticket(() => LOAN);
  ticket.amount = "cash";
  ticket.cash = cash;
  ticket.typedPrice("98.00");
  await settled();
  const total = units(ticket.quote?.total) as bigint;
  expect(total <= (units(cash) as bigint)).toBe(true);
  const more = decimal((units(ticket.face) as bigint) + 3n); // three lots more would be too much
  const costlier = answer(new URLSearchParams({ qty: more, price: "98.00" }));
  expect((units(costlier.total as string) as bigint) > (units(cash) as bigint)).toBe(true);
});

it("an order says what the form says", async () => {
  const ticket = new Ticket(() => LOAN);
  ticket.side = "sell";
  ticket.face = "50";
  ticket.postOnly = true;
  ticket.typedDiscount("1.25");
  await settled();
  expect(ticket.order).toMatchObject({ loan_id: "L1", side: "sell", order_type: "limit", limit_price: "98.75", order_qty: "50", post_only: true, time_in_force: "gtc" });
  ticket.lasting = "ioc";
  expect(ticket.order?.post_only).toBeUndefined();
  ticket.kind = "market";
  expect(ticket.order).not.toHaveProperty("limit_price");
});

it("a day is the market's: what is over there can't be chosen, and its end is by the market's clock", async () => {
  vi.setSystemTime("2026-11-30T16:30:00Z"); // 1 December, 0:30 in Shanghai
  const ticket = new Ticket(() => LOAN);
  ticket.face = "50";
  ticket.lasting = "gtd";
  ticket.typedPrice("98.00");
  ticket.until = "2026-12-01";
  await settled();
  expect([ticket.endsAt, ticket.order]).toEqual([null, null]); // where the market is, is not known yet
  statusInfo.zone = "Asia/Shanghai";
  expect(ticket.order?.expire_time).toBe("2026-12-01T15:59:59.000Z");
  ticket.until = "2026-11-30";
  expect([ticket.isPast, ticket.order]).toEqual([true, null]);
  statusInfo.zone = "UTC";
  expect([ticket.isPast, ticket.order?.expire_time]).toEqual([false, "2026-11-30T23:59:59.000Z"]);
  statusInfo.zone = null;
});

it("a market order may ask for a least quantity; only what rests may show a part", async () => {
  const ticket = new Ticket(() => LOAN);
  ticket.face = "50";
  [ticket.minQty, ticket.displayQty] = ["20", "5"];
  ticket.typedPrice("98.00");
  await settled();
  expect(ticket.order).toMatchObject({ min_qty: "20", display_qty: "5" });
  ticket.kind = "market";
  expect(ticket.order).toMatchObject({ order_type: "market", min_qty: "20" });
  expect(ticket.order).not.toHaveProperty("display_qty");
  ticket.kind = "limit";
  ticket.postOnly = true; // it never trades at once
  expect(ticket.order).not.toHaveProperty("min_qty");
  ticket.lasting = "ioc";
  expect(ticket.order).toMatchObject({ min_qty: "20" });
  expect(ticket.order).not.toHaveProperty("display_qty");
});

it.each([
  ["minQty", "50.01"],
  ["minQty", "0"],
  ["minQty", "x"],
  ["displayQty", "0.99"], // below the least order
  ["displayQty", "51"],
] as const)("a %s of %s can't be", async (part, text) => {
  const ticket = new Ticket(() => LOAN);
  ticket.face = "50";
  ticket.typedPrice("98.00");
  await settled();
  ticket[part] = text;
  expect([ticket.amissParts, ticket.order]).toEqual([part, null]);
});

it("a busy book is followed now and then, and never makes the order wait", async () => {
  const ticket = new Ticket(() => LOAN);
  ticket.kind = "market";
  ticket.face = "100";
  ticket.ask();
  await settled();
  const before = asked.length;
  for (let move = 0; move < 40; move += 1) {
    ticket.follow();
    await vi.advanceTimersByTimeAsync(50);
    expect(ticket.isAsking).toBe(false);
    expect(ticket.order).not.toBeNull();
  }
  await settled();
  expect(asked.length - before).toBeGreaterThan(4); // two seconds
  expect(asked.length - before).toBeLessThan(12);
});

it("what is looked back at does not change under the eye", async () => {
  const ticket = new Ticket(() => LOAN);
  ticket.kind = "market";
  ticket.face = "100";
  ticket.ask();
  await settled();
  ticket.follow();
  ticket.review();
  const [{ quote }, before] = [ticket, asked.length];
  await settled();
  expect(ticket.quote).toBe(quote);
  expect(asked).toHaveLength(before);
});
