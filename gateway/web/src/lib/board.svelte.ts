/** The board: pages of loans as the server filters and sorts them, and what is live of the rows in view.
 *
 * The order of rows stays as it was loaded, however prices move, so that nothing jumps under the pointer; a reload sorts
 * anew. The live figures of a row all come from one message.
 */

import { SvelteMap } from "svelte/reactivity";
import { ApiError, market } from "./api";
import { remembered } from "./remembered";
import { router } from "./router.svelte";
import { socket } from "./socket.svelte";
import type { Live, Loan, Ticker } from "./types";

export const PAGE_ROWS = 200;
export const DEFAULTS: Filters = { sort: "-ytm", min_available: "0.01" };

/** The words of GET /v1/loans, and `watch`: only the watchlist. It is also the address's query. */
export type Filters = Record<string, string>;

export function filtersOf(search: string): Filters {
  const found = Object.fromEntries(new URLSearchParams(search));
  return Object.keys(found).length === 0 ? { ...DEFAULTS } : found;
}

export function searchOf(filters: Filters): string {
  const given = Object.entries(filters).filter(([, value]) => value !== "");
  return `?${new URLSearchParams(given.length ? given : [["sort", ""]])}`;
}

const keptWatchlist = remembered<string[]>("watchlist", []);

class Watchlist {
  ids = $state.raw<string[]>(keptWatchlist.read());

  has(loanId: string): boolean {
    return this.ids.includes(loanId);
  }

  toggle(loanId: string): void {
    this.ids = this.has(loanId) ? this.ids.filter((id) => id !== loanId) : [...this.ids, loanId];
    keptWatchlist.write(this.ids);
  }
}

export const watchlist = new Watchlist();

/** Live figures of a loan. times: how often they were told, so that the first time does not look like a change. */
export type Moved = Live & { times: number };

export class Board {
  rows = $state.raw<Loan[]>([]);
  phase = $state<"pending" | "done" | "failed">("pending");
  error = $state.raw<ApiError | null>(null);
  loadedAt = $state.raw<Date | null>(null);
  hasMore = $state(false);
  live = new SvelteMap<string, Moved>();
  #cursor: string | null = null;
  #abort = new AbortController();
  #loading = false;
  #watched = new Map<string, () => void>();
  #filters: Filters = {};

  /** Load the first page anew. */
  async load(filters: Filters): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#filters = filters;
    this.#cursor = null;
    this.#loading = false;
    this.phase = "pending";
    await this.#fetch(true);
  }

  /** Load the next page, if there is one and none is under way. */
  async more(): Promise<void> {
    if (this.hasMore && !this.#loading && this.phase !== "failed") await this.#fetch(false);
  }

  retry(): Promise<void> {
    return this.#cursor === null ? this.load(this.#filters) : this.#fetch(false);
  }

  async #fetch(isFirst: boolean): Promise<void> {
    const { signal } = this.#abort;
    this.#loading = true;
    try {
      const { watch, ...query } = this.#filters;
      const page = watch
        ? await watched(query.sort)
        : await market.loans({ ...query, limit: PAGE_ROWS, cursor: this.#cursor }, signal);
      if (signal.aborted) return;
      this.rows = isFirst ? page.items : [...this.rows, ...page.items];
      this.#cursor = page.next_cursor;
      this.hasMore = page.next_cursor !== null;
      if (isFirst) {
        this.loadedAt = new Date();
        this.live.clear();
      }
      this.error = null;
      this.phase = "done";
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
      this.phase = "failed";
    } finally {
      if (!signal.aborted) this.#loading = false;
    }
  }

  /** Keep exactly these loans live: those that can be seen. */
  watch(symbols: string[]): void {
    const wanted = new Set(symbols);
    for (const [symbol, leave] of this.#watched) {
      if (wanted.has(symbol)) continue;
      leave();
      this.#watched.delete(symbol);
    }
    for (const symbol of wanted) {
      if (this.#watched.has(symbol)) continue;
      const told = (row: Record<string, unknown>): void => {
        const times = (this.live.get(symbol)?.times ?? 0) + 1;
        this.live.set(symbol, { ...(row as unknown as Ticker), times });
      };
      this.#watched.set(symbol, socket.subscribe("ticker", symbol, told));
    }
  }

  leave(): void {
    this.#abort.abort();
    this.watch([]);
  }
}

/** The watchlist's loans, in the order asked for as far as it is one of yield or price. */
async function watched(sort: string | undefined): Promise<{ items: Loan[]; next_cursor: null }> {
  const found = await Promise.allSettled(watchlist.ids.map((id) => market.loan(id)));
  const items = found.filter((each) => each.status === "fulfilled").map((each) => each.value);
  const sign = sort?.startsWith("-") ? -1 : 1;
  const figure = FIGURES[sort?.replace("-", "") ?? ""];
  if (figure) {
    items.sort((a, b) => {
      const [x, y] = [figure(a), figure(b)];
      if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1;
      return sign * (x - y);
    });
  }
  return { items, next_cursor: null };
}

/** For ordering only: a float is good enough for that. */
const FIGURES: Record<string, (loan: Loan) => number | null> = {
  ytm: (loan) => (loan.ytm_ask === null ? null : Number(loan.ytm_ask)),
  price: (loan) => (loan.ask === null ? null : Number(loan.ask)),
  discount: (loan) => (loan.ask === null ? null : -Number(loan.ask)),
  remaining_months: (loan) => loan.remaining_months,
  rate: (loan) => Number(loan.annual_rate),
  available: (loan) => (loan.ask_qty === null ? null : Number(loan.ask_qty)),
};

export function goToFilters(filters: Filters): void {
  router.go(`/${searchOf(filters)}`, { replace: true });
}
