/** A half-filled ticket is taken up as it was, under the id that it had, by the account that filled it in. */
import { beforeEach, expect, it, vi } from "vitest";
import { drafts } from "../src/lib/draft";
import { Ticket } from "../src/lib/ticket.svelte";
import type { Loan } from "../src/lib/types";

const LOAN = { loan_id: "L1", currency: "USD", rulebook: { lot: "0.01", min_face: "1.00" } } as Loan;

beforeEach(() => {
  const kept: Record<string, string> = {};
  Object.defineProperties(kept, {
    getItem: { value: (key: string) => kept[key] ?? null },
    setItem: { value: (key: string, text: string) => void (kept[key] = text) },
    removeItem: { value: (key: string) => void delete kept[key] },
  });
  vi.stubGlobal("sessionStorage", kept);
  vi.stubGlobal("fetch", () => new Promise(() => {}));
});

function filled(): Ticket {
  const ticket = new Ticket(() => LOAN);
  ticket.turn("buy");
  ticket.kind = "yield";
  ticket.typedYield("12.5");
  ticket.amount = "cash";
  ticket.typedAmount("500");
  ticket.lasting = "gtd";
  ticket.until = "2030-01-31";
  ticket.displayQty = "20";
  ticket.pegged = true;
  return ticket;
}

it("what was filled in is the same in the ticket that takes it up", () => {
  const before = filled();
  drafts.write("A1", "L1", before.draft);
  const after = new Ticket(() => LOAN);
  const draft = drafts.read("A1", "L1");
  if (draft) after.takeUp(draft);
  expect(after.draft).toEqual(before.draft);
  expect([after.yield, after.cash, after.until, after.pegged]).toEqual(["12.5", "500", "2030-01-31", true]);
  expect(before.draft.id).toMatch(/^web-/);
});

it("a price is said as it was typed, and its discount follows", () => {
  const before = new Ticket(() => LOAN);
  before.typedDiscount("3.5");
  const after = new Ticket(() => LOAN);
  after.takeUp(before.draft);
  expect([after.by, after.discount, after.price]).toEqual(["discount", "3.5", "96.50"]);
});

it("drafts are of one account and loan, and all are forgotten together", () => {
  const { draft } = filled();
  drafts.write("A1", "L1", draft);
  drafts.write(null, "L2", draft);
  sessionStorage.setItem("other", "kept");
  expect(drafts.read("A2", "L1")).toBeNull();
  expect(drafts.read("A1", "L2")).toBeNull();
  expect(drafts.read(null, "L2")).toEqual(draft);
  drafts.write(null, "L2", null);
  expect(drafts.read(null, "L2")).toBeNull();
  drafts.forgetAll();
  expect(drafts.read("A1", "L1")).toBeNull();
  expect(sessionStorage.getItem("other")).toBe("kept");
});

it("what is no draft is none", () => {
  sessionStorage.setItem("debt-market.ticket.A1 L1", "{");
  expect(drafts.read("A1", "L1")).toBeNull();
});
