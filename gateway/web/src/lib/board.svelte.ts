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

const LISTS_KEPT = 20;
let lists = $state.raw<Left[]>([]); // the latest first
export function leftAt(place: Left): void {
  lists = [place, ...lists.filter(({ search }) => search !== place.search)].slice(0, LISTS_KEPT);
}
/** Where the list of this address was left, or null. */
export const cameBackTo = (search: string): Left | null => lists.find((left) => left.search === search) ?? null;
/** The list as it was filtered last. */
export const lastBoard = (): string => `/${lists[0]?.search ?? ""}`;

/** Filter anew: a step that the browser's Back undoes, unless it goes on with the last one, as typing does. */
export function goToFilters(filters: Filters, { replace = false } = {}): void {
  const to = `/${searchOf(filters)}`;
  if (to !== router.path + router.search) router.go(to, { replace });
}

/** What the API is asked for by these filters, null if that can only be nothing: an empty watchlist. */
export function queryOf({ watch, ...filters }: Filters): Filters | null {
  if (!watch) return filters;
  return watchlist.ids.length === 0 ? null : { ...filters, loan_id: watchlist.ids.slice(-WATCHED_MAX).join() };
}
