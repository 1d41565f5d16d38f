/** Own fills, newest first: the latest come by themselves, older ones page by page as they are asked for. */

import { Action } from "./action.svelte";
import { account } from "./api";
import type { Page, Trade } from "./types";

const OLDER = 200; // in a page
const SHOWN_MAX = 1_000; // rows that a table draws without delay

/** A trade with oneself is two fills. */
const nameOf = (fill: Trade): string => `${fill.trade_id} ${fill.side}`;

export class Fills {
  items = $state.raw<Trade[]>([]);
  /** So many of the newest are not shown, when older ones are looked at. */
  from = $state(0);
  shown = $derived(this.items.slice(this.from, this.from + SHOWN_MAX));
  #cursor = $state<string | null>(null);

  older = new Action(async () => {
    if (this.items.length <= this.#end) {
      const cursor = this.#cursor;
      const page = await account.trades(OLDER, cursor);
      if (cursor !== this.#cursor) return; // what was shown was begun anew meanwhile
      this.items = this.#joined(this.items, page.items);
      this.#cursor = page.next_cursor;
    }
    const end = Math.min(this.items.length, this.#end + OLDER);
    this.from = Math.max(0, end - SHOWN_MAX);
  });

  newer(): void {
    this.from = Math.max(0, this.from - OLDER);
  }

  get hasOlder(): boolean {
    return this.#cursor !== null || this.items.length > this.#end;
  }

  get #end(): number {
    return this.from + SHOWN_MAX;
  }

  /** Take the latest page. If it does not reach what is shown, something between is missing: it is shown alone. */
  take(latest: Page<Trade>): void {
    const known = new Set(this.items.map(nameOf));
    const joins = latest.items.some((fill) => known.has(nameOf(fill)));
    const before = this.items.length;
    if (!joins) this.#cursor = latest.next_cursor;
    this.items = joins ? this.#joined(latest.items, this.items) : latest.items;
    // Who looks at older ones goes on to see the same.
    this.from = joins && this.from > 0 ? this.from + this.items.length - before : 0;
  }

  #joined(newer: Trade[], older: Trade[]): Trade[] {
    const known = new Set(newer.map(nameOf));
    return [...newer, ...older.filter((fill) => !known.has(nameOf(fill)))];
  }
}
