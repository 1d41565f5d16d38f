/** What of the book is one's own: an order that would meet it is told before it is sent. */
import { expect, it } from "vitest";
import { meetsOwn, standing } from "../src/lib/own";
import type { Order, Side } from "../src/lib/types";

const order = (side: Side, limit_price: string): Order => ({ side, limit_price }) as Order;
const OWN = [order("buy", "94.00"), order("buy", "95.00"), order("sell", "99.00"), order("sell", "98.50")];

it("the best of the own orders on the other side stands in the way", () => {
  expect(standing("sell", OWN)).toBe("95.00");
  expect(standing("buy", OWN)).toBe("98.50");
  expect(standing("buy", [order("buy", "95.00")])).toBeNull();
});

it.each([
  ["sell", "95.00", true],
  ["sell", "94.50", true],
  ["sell", "95.01", false],
  ["buy", "98.50", true],
  ["buy", "98.49", false],
  ["buy", null, false],
  ["buy", "x", false],
] as const)("to %s at %s meets an own order: %s", (side, limit, meets) => {
  expect(meetsOwn(side, limit, OWN)).toBe(meets);
});
