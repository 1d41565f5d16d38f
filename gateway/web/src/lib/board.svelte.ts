/** The board's filters, which are the address's query, and the watchlist. */

import { remembered } from "./remembered";
import { router } from "./router.svelte";

const WATCHED_MAX = 500; // loans that a filter may name

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

/** Where the reader left the list: its address, the row that was active, and how far down in the view that stood, px. */
interface Left {
  search: string;
  loanId: string | undefined;
  offset: number;
}

let left = $state.raw<Left | null>(null);
export const leftAt = (place: Left): void => void (left = place);
/** Where the list of this address was left, or null. */
export const cameBackTo = (search: string): Left | null => (left?.search === search ? left : null);
/** The list as it was filtered last. */
export const lastBoard = (): string => `/${left?.search ?? ""}`;

export function goToFilters(filters: Filters): void {
  router.go(`/${searchOf(filters)}`, { replace: true });
}

/** What the API is asked for by these filters, null if that can only be nothing: an empty watchlist. */
export function queryOf({ watch, ...filters }: Filters): Filters | null {
  if (!watch) return filters;
  return watchlist.ids.length === 0 ? null : { ...filters, loan_id: watchlist.ids.slice(-WATCHED_MAX).join() };
}
