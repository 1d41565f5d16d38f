/** Fills are shown without a gap and none twice, whatever happens while older ones are asked for. */
import { beforeEach, expect, it, vi } from "vitest";
import { Fills } from "../src/lib/fills.svelte";
import type { Page, Trade } from "../src/lib/types";

/** The page of `limit` fills before the one with number `before`, of `count` in all, as the API pages them. */
function page(count: number, limit: number, before = count): Page<Trade> {
  const numbers = Array.from({ length: Math.min(limit, before) }, (_, i) => before - 1 - i);
  const last = numbers.at(-1) ?? 0;
  return { items: numbers.map((n) => ({ trade_id: `T${n}`, side: "buy" }) as Trade), next_cursor: last > 0 ? String(last) : null };
}

let count = 0;
beforeEach(() => {
  vi.stubGlobal("fetch", (path: string) => {
    const query = new URL(path, "http://x").searchParams;
    return Promise.resolve(new Response(JSON.stringify(page(count, Number(query.get("limit")), Number(query.get("cursor"))))));
  });
});

const numberOf = (fill: Trade | undefined): number => Number(fill?.trade_id.slice(1));
const shown = (fills: Fills): number[] => fills.items.map(numberOf);
const down = (from: number, to = 0): number[] => Array.from({ length: from - to }, (_, i) => from - 1 - i);

it("goes back as far as there are any", async () => {
  count = 430;
  const fills = new Fills();
  fills.take(page(count, 50));
  expect(shown(fills)).toEqual(down(430, 380));
  await fills.older.run();
  expect(shown(fills)).toEqual(down(430, 180));
  await fills.older.run();
  expect([shown(fills), fills.hasOlder]).toEqual([down(430), false]);
});

it("new fills come on top of the older ones that are shown", async () => {
  count = 300;
  const fills = new Fills();
  fills.take(page(count, 50));
  await fills.older.run();
  fills.take(page(320, 50));
  expect(shown(fills)).toEqual(down(320, 50));
  count = 320;
  await fills.older.run();
  expect([shown(fills), fills.hasOlder]).toEqual([down(320), false]);
});

it("shows the latest alone when they do not reach what was shown", async () => {
  count = 300;
  const fills = new Fills();
  fills.take(page(count, 50));
  const asking = fills.older.run();
  count = 400;
  fills.take(page(count, 50));
  await asking; // what comes late belongs to what is no longer shown
  expect(shown(fills)).toEqual(down(400, 350));
  await fills.older.run();
  expect(shown(fills)).toEqual(down(400, 150));
});

it("draws a thousand at most, however many were asked for, and leads back to the newest", async () => {
  count = 1_700;
  const fills = new Fills();
  fills.take(page(count, 50));
  while (fills.hasOlder) await fills.older.run();
  expect(shown(fills)).toEqual(down(1_700));
  expect([numberOf(fills.shown[0]), numberOf(fills.shown.at(-1))]).toEqual([999, 0]);
  count = 1_702; // somebody who looks at old ones sees the same ones
  fills.take(page(count, 50));
  expect([numberOf(fills.shown[0]), numberOf(fills.shown.at(-1)), fills.from]).toEqual([999, 0, 702]);
  fills.newer();
  expect([numberOf(fills.shown[0]), numberOf(fills.shown.at(-1)), fills.hasOlder]).toEqual([1_199, 200, true]);
  await fills.older.run(); // what is known is not asked for again
  expect([numberOf(fills.shown[0]), numberOf(fills.shown.at(-1)), fills.hasOlder]).toEqual([999, 0, false]);
  for (let i = 0; i < 4; i += 1) fills.newer();
  expect([numberOf(fills.shown[0]), fills.from]).toEqual([1_701, 0]);
});
