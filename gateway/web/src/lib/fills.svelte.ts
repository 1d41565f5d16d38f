/** Own fills, newest first: the latest come by themselves, older ones page by page as they are asked for. */

import { Action } from "./action.svelte";
import { account } from "./api";
import type { Page, Trade } from "./types";

const OLDER = 200; // in a page

/** A trade with oneself is two fills. */
const nameOf = (fill: Trade): string => `${fill.trade_id} ${fill.side}`;

export class Fills {
  items = $state.raw<Trade[]>([]);
  #cursor = $state<string | null>(null);

  older = new Action(async () => {
    const from = this.#cursor;
    const page = await account.trades(OLDER, from);
    if (from !== this.#cursor) return; // what was shown was begun anew meanwhile
    this.items = this.#joined(this.items, page.items);
    this.#cursor = page.next_cursor;
  });

  get hasOlder(): boolean {
    return this.#cursor !== null;
  }

  /** Take the latest page. If it does not reach what is shown, something between is missing: it is shown alone. */
  take(latest: Page<Trade>): void {
    const known = new Set(this.items.map(nameOf));
    const joins = latest.items.some((fill) => known.has(nameOf(fill)));
    if (!joins) this.#cursor = latest.next_cursor;
    this.items = joins ? this.#joined(latest.items, this.items) : latest.items;
  }

  #joined(newer: Trade[], older: Trade[]): Trade[] {
    const known = new Set(newer.map(nameOf));
    return [...newer, ...older.filter((fill) => !known.has(nameOf(fill)))];
  }
}
