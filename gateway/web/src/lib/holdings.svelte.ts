/** What the account has, live: cash by currency and claims by loan, and a count of what happened to its orders. */

import { SvelteMap } from "svelte/reactivity";
import { socket, type Row } from "./socket.svelte";

export interface Holding {
  total: string;
  available: string;
  held: string;
}

export const NOTHING: Holding = { total: "0.00", available: "0.00", held: "0.00" };

class Holdings {
  #assets = new SvelteMap<string, Holding>();
  /** Changes with each message about own orders, fills, cash and claims: what lists them reads them again. */
  news = $state(0);

  of(asset: string): Holding {
    return this.#assets.get(asset) ?? NOTHING;
  }

  /** Listen until the returned function is called; to be called while signed in. */
  follow(): () => void {
    const stops = [
      socket.subscribe("balances", null, (row) => this.#take(row)),
      socket.subscribe("executions", null, () => (this.news += 1)),
    ];
    return () => {
      for (const stop of stops) stop();
      this.#assets.clear();
    };
  }

  #take(row: Row): void {
    this.news += 1;
    const { asset, balance, available, held } = row as Record<string, string>;
    if (asset) this.#assets.set(asset, { total: balance ?? "0.00", available: available ?? "0.00", held: held ?? "0.00" });
  }
}

export const holdings = new Holdings();
