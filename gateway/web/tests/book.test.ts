import { expect, it } from "vitest";
import { stepped } from "../src/lib/socket.svelte";
import type { Level } from "../src/lib/types";

const level = (price: string, qty: string): Level => ({ price, qty });

it("steps a side of a book: removes, changes, inserts in order, cuts to its depth", () => {
  const bids = [level("100.10", "5.00"), level("99.00", "1.00"), level("9.50", "2.00")];
  const next = stepped(bids, [level("100.10", "0.00"), level("99.00", "3.00"), level("101.00", "4.00")], "bids", 10);
  expect(next.map(({ price, qty }) => [price, qty])).toEqual([
    ["101.00", "4.00"],
    ["99.00", "3.00"],
    ["9.50", "2.00"],
  ]);
  expect(stepped(next, [level("0.99", "1.00")], "asks", 2).map(({ price }) => price)).toEqual(["0.99", "9.50"]);
});

it("ends where a plain map of levels ends, whatever the steps", () => {
  let seed = 7;
  const random = (n: number): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % n;
  };
  const model = new Map<number, number>();
  let side: Level[] = [];
  for (let step = 0; step < 2_000; step += 1) {
    const [price, qty] = [9_000 + random(2_000), random(3) * 100];
    if (qty === 0) model.delete(price);
    else model.set(price, qty);
    side = stepped(side, [level((price / 100).toFixed(2), (qty / 100).toFixed(2))], "asks", 10_000);
  }
  const plain = [...model].sort(([a], [b]) => a - b).map(([price, qty]) => level((price / 100).toFixed(2), (qty / 100).toFixed(2)));
  expect(side).toEqual(plain);
});
