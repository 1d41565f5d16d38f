import { expect, it } from "vitest";
import { agree, monthsOf, realisedBy, sharesOf, termOf, totalsOf } from "../src/lib/portfolio";
import type { Balances, CashflowTotal, Loan, Position, Quote } from "../src/lib/types";

const position = (changed: Partial<Position>): Position => ({
  loan_id: "L1",
  symbol: "L1/USD",
  currency: "USD",
  total: "100.00",
  available: "100.00",
  held: "0.00",
  current_face: "100.00",
  cost: "98.00",
  cost_price: "98.00",
  market_price: "99.00",
  market_value: "99.00",
  accrued: "0.50",
  ytm: "0.100000",
  realised: "1.00",
  unrealised: "1.00",
  ...changed,
});

it("adds up each currency by itself, and weighs yields by value", () => {
  const totals = totalsOf([
    position({}),
    position({ loan_id: "L2", market_value: "301.00", ytm: "0.200000", unrealised: "-3.33" }),
    position({ loan_id: "L3", currency: "CNY", market_value: null, ytm: null, unrealised: null }),
  ]);
  expect(totals.map(({ currency }) => currency)).toEqual(["CNY", "USD"]);
  expect(totals[0]).toMatchObject({ value: "0.00", ytm: null, unrealised: "0.00" });
  expect(totals[1]).toMatchObject({ value: "400.00", accrued: "1.00", unrealised: "-2.33" });
  expect(totals[1]?.ytm).toBe("0.175250"); // (99 × 10 % + 301 × 20 %) / 400
});

it("gathers cash by month, of one currency", () => {
  const flow = (due_date: string, principal: string, currency = "USD"): CashflowTotal => ({
    due_date,
    principal,
    interest: "1.10",
    amount: "0.00",
    currency,
  });
  const months = monthsOf([flow("2024-02-15", "10.00"), flow("2024-01-31", "5.00"), flow("2024-02-29", "0.01"), flow("2024-02-01", "9.00", "CNY")], "USD");
  expect(months.map(({ month, principal, interest }) => [month, principal, interest])).toEqual([
    ["2024-01", "5.00", "1.10"],
    ["2024-02", "10.01", "2.20"],
  ]);
});

it("shares principal out by name, the largest first", () => {
  const shares = sharesOf([position({ loan_id: "a", current_face: "25.00" }), position({ loan_id: "b", current_face: "75.00" })], (p) => p.loan_id);
  expect(shares).toEqual([
    { name: "b", amount: "75.00", share: "0.7500" },
    { name: "a", amount: "25.00", share: "0.2500" },
  ]);
  expect(sharesOf([position({ current_face: "0.00" })], () => "x")[0]?.share).toBe("0.0000");
});

it("names broad terms", () => {
  const of = (remaining_months: number): string => termOf({ remaining_months } as Loan);
  expect([of(1), of(3), of(4), of(36), of(37)]).toEqual(["≤3", "≤3", "≤6", "≤36", ">36"]);
});

it("cash and positions agree if they are of one moment", () => {
  const claim = (total: string, held: string, loan_id = "L1"): Balances["claims"][number] => ({ loan_id, total, held, available: "0.00", current_face: total });
  const of = (...claims: Balances["claims"]): Balances => ({ cash: [], claims });
  const held = [position({ total: "100.00", held: "20.00" })];
  expect(agree(of(claim("100.00", "20.00")), held)).toBe(true);
  expect(agree(of(claim("100.00", "20.00"), claim("0.00", "0.00", "sold")), held)).toBe(true);
  expect(agree(of(claim("80.00", "0.00")), held)).toBe(false);
  expect(agree(of(), held)).toBe(false);
  expect(agree(of(claim("100.00", "20.00"), claim("5.00", "0.00", "L2")), held)).toBe(false);
});

it.each([
  ["all of it", { qty: "100.00", unfilled_qty: "0.00", principal: "99.00", fee: "0.30" }, "0.70"],
  ["a part, half up", { qty: "33.00", unfilled_qty: "0.00", principal: "32.67", fee: "0.10" }, "0.23"],
  ["what the book takes of it", { qty: "100.00", unfilled_qty: "60.00", principal: "38.00", fee: "0.00" }, "-1.20"],
  ["nothing", { qty: "100.00", unfilled_qty: "100.00", principal: "0.00", fee: "0.00" }, "0.00"],
  ["more than there is", { qty: "100.01", unfilled_qty: "0.00", principal: "99.01", fee: "0.00" }, null],
])("a sale realises what it brings less what that part had cost and the fee: %s", (_, quote, realised) => {
  expect(realisedBy(quote as Quote, position({}))).toBe(realised);
});
