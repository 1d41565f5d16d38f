/** What the board lists: all loans of a filter in an order that stands still, and what is known of their rows.
 *
 * The order is that of one moment and stays, however prices move, until it is asked for anew: nothing jumps under the
 * pointer. Rows are fetched where they are looked at. Those in view are followed on a board of just these loans, so that
 * every figure of a row comes from one message; how many of them would stand elsewhere now is counted, and a second board,
 * the best of the filter, tells what has come to be on offer since.
 */

import { SvelteMap } from "svelte/reactivity";
import { ApiError, market } from "./api";
import { queryOf, type Filters } from "./board.svelte";
import { displaced } from "./displaced";
import { socket, type Row } from "./socket.svelte";
import { BOARD_FIELDS, type BoardLoan } from "./types";

const PAGE_ROWS = 100; // fetched at once
const AROUND = 25; // rows beyond those in view that are to be known
const AHEAD = 60; // and that are fetched, when some of these are not
const FOLLOWED_AROUND = 10;
const FETCH_MS = 60; // while rows fly by they are asked for so often
const SETTLED_MS = 150; // what rests in view for so long is followed live
const COUNT_MS = 250; // displaced rows are counted so often
const BEST_ROWS = 100;
const ROWS_KEPT = 5_000;

const FIGURES: Record<string, keyof BoardLoan> = {
  ytm: "ytm_ask",
  price: "ask",
  discount: "ask",
  remaining_months: "remaining_months",
  rate: "annual_rate",
  available: "ask_qty",
  bid: "bid",
  last: "last",
};

/** A row as it was last told. times: how often it changed.  changed: what did the last time.  at: when, as a page time. */
export interface Shown {
  loan: BoardLoan;
  times: number;
  changed: ReadonlySet<string>;
  at: number;
}

const NOTHING: ReadonlySet<string> = new Set();

export class Listing {
  order = $state.raw<string[]>([]);
  phase = $state<"pending" | "done" | "failed">("pending");
  error = $state.raw<ApiError | null>(null);
  orderedAt = $state.raw<string | null>(null);
  /** Grows whenever the order is another one. */
  generation = $state(0);
  /** Rows in view that would stand elsewhere now, and loans at the top that are not in the order. */
  moved = $state(0);

  // Another map where many rows go at once: taking them out one by one would tell every reader as often.
  #rows = $state.raw(new SvelteMap<string, Shown>());
  #filters: Filters = {};
  #abort = new AbortController();
  #view: [number, number] = [0, 0];
  #awaited = new Set<string>();
  #fetching: ReturnType<typeof setTimeout> | undefined;
  #settling: ReturnType<typeof setTimeout> | undefined;
  #counting: ReturnType<typeof setTimeout> | undefined;
  #followed: { from: number; to: number; ids: ReadonlySet<string>; leave: () => void } | null = null;
  #isTold = false;
  #best = new Set<string>();
  #leaveBest: () => void = () => {};
  #members: Set<string> | null = null;

  /** The row at a place of the order, undefined while it is not known. */
  at(index: number): Shown | undefined {
    const id = this.order[index];
    return id === undefined ? undefined : this.#rows.get(id);
  }

  /** List by other filters: the first rows and the order are asked for together. */
  async load(filters: Filters): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#filters = filters;
    this.#leaveBest();
    this.#leaveBest = () => {};
    this.#awaited.clear();
    this.phase = "pending";
    const query = queryOf(filters);
    if (query === null) {
      this.#take([], null);
      return;
    }
    const { signal } = this.#abort;
    await this.#guarded(signal, async () => {
      const [order, first] = await Promise.all([
        market.order(query, signal),
        market.rows({ ...query, limit: PAGE_ROWS }, signal),
      ]);
      if (signal.aborted) return;
      this.#rows = new SvelteMap();
      for (const loan of first.items) this.#put(loan);
      this.#take(order.items, order.timestamp);
      this.#watchBest(query);
    });
  }

  /** Put the rows in the order that they would have now. */
  async reorder(): Promise<void> {
    const query = queryOf(this.#filters);
    if (query === null || this.phase === "pending") return;
    const { signal } = this.#abort;
    await this.#guarded(signal, async () => {
      const order = await market.order(query, signal);
      if (!signal.aborted) this.#take(order.items, order.timestamp);
    });
  }

  retry(): Promise<void> {
    return this.load(this.#filters);
  }

  /** Say which rows are seen, the end excluded. */
  view(from: number, to: number): void {
    this.#view = [from, to];
    this.#fetching ??= setTimeout(() => void this.#fetch(), FETCH_MS);
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#follow(), SETTLED_MS);
  }

  leave(): void {
    this.#abort.abort();
    for (const timer of [this.#fetching, this.#settling, this.#counting]) clearTimeout(timer);
    this.#followed?.leave();
    this.#followed = null;
    this.#leaveBest();
  }

  #take(order: string[], at: string | null): void {
    this.order = order;
    this.orderedAt = at;
    this.#members = null;
    this.phase = "done";
    this.error = null;
    this.moved = 0;
    this.generation += 1;
    this.#followed?.leave();
    this.#followed = null;
    this.view(...this.#view);
  }

  async #guarded(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
      this.phase = "failed";
    }
  }

  async #fetch(): Promise<void> {
    this.#fetching = undefined;
    const [from, to] = this.#view;
    const isLacking = (id: string): boolean => !this.#rows.has(id) && !this.#awaited.has(id);
    const around = (more: number): string[] => this.order.slice(Math.max(0, from - more), to + more);
    if (!around(AROUND).some(isLacking)) return;
    // What is in view comes first, then what lies ahead.
    const wanted = [...this.order.slice(from, to), ...around(AHEAD)].filter(isLacking);
    const asked = new Set(wanted.slice(0, PAGE_ROWS));
    for (const id of asked) this.#awaited.add(id);
    const { signal } = this.#abort;
    await this.#guarded(signal, async () => {
      const page = await market.rows({ loan_id: [...asked].join(), status: "all", limit: PAGE_ROWS }, signal);
      if (signal.aborted) return;
      // What is followed was told later than this, or will be.
      for (const loan of page.items) if (!(this.#isTold && this.#followed?.ids.has(loan.loan_id))) this.#put(loan);
    });
    for (const id of asked) this.#awaited.delete(id);
    if (!signal.aborted && this.#rows.size > ROWS_KEPT) this.#forget();
  }

  /** Keep the rows around the view, drop those that were seen long ago. */
  #forget(): void {
    const [from, to] = this.#view;
    const near = this.order.slice(Math.max(0, from - PAGE_ROWS), to + PAGE_ROWS);
    this.#rows = new SvelteMap(near.flatMap((id) => (this.#rows.has(id) ? [[id, this.#rows.get(id) as Shown]] : [])));
  }

  #follow(): void {
    const [from, to] = this.#view;
    const last = Math.min(to, this.order.length);
    const held = this.#followed;
    if (held && held.from <= from && last <= held.to) return;
    held?.leave();
    this.#followed = null;
    const [start, end] = [Math.max(0, from - FOLLOWED_AROUND), Math.min(to + FOLLOWED_AROUND, this.order.length)];
    const ids = this.order.slice(start, end);
    if (ids.length === 0) return;
    this.#isTold = false;
    const params = { loan_id: ids, status: "all", limit: ids.length, fields: [...BOARD_FIELDS] };
    const leave = socket.board(params, (rows) => {
      this.#isTold = true;
      for (const row of rows) if (!row.removed) this.#put(row as unknown as BoardLoan);
      this.#countSoon();
    });
    this.#followed = { from: start, to: end, ids: new Set(ids), leave };
  }

  #watchBest(query: Filters): void {
    this.#best.clear();
    const params = { ...query, limit: BEST_ROWS, fields: ["status"] };
    this.#leaveBest = socket.board(params, (rows, kind) => {
      if (kind === "snapshot") this.#best.clear();
      for (const row of rows) this.#note(row);
      this.#countSoon();
    });
  }

  #note(row: Row): void {
    const id = String(row.loan_id);
    if (row.removed) this.#best.delete(id);
    else this.#best.add(id);
  }

  #put(loan: BoardLoan): void {
    const { loan_id: id } = loan;
    const old = this.#rows.get(id);
    if (!old) {
      this.#rows.set(id, { loan, times: 0, changed: NOTHING, at: 0 });
      return;
    }
    const changed = new Set<string>();
    for (const name of BOARD_FIELDS) {
      const [a, b] = [old.loan[name], loan[name]];
      if (a !== b && (typeof a !== "object" || JSON.stringify(a) !== JSON.stringify(b))) changed.add(name);
    }
    if (changed.size > 0) this.#rows.set(id, { loan, times: old.times + 1, changed, at: performance.now() });
  }

  #countSoon(): void {
    this.#counting ??= setTimeout(() => {
      this.#counting = undefined;
      this.moved = this.#count();
    }, COUNT_MS);
  }

  #count(): number {
    const sort = this.#filters.sort ?? "";
    const figure = FIGURES[sort.replace("-", "")];
    // For ordering only: a float is good enough for that. A discount is what the price lacks of par.
    const descends = sort.startsWith("-") !== (sort.replace("-", "") === "discount");
    const values: (number | null)[] = [];
    if (figure) {
      const [from, to] = this.#view;
      for (let i = from; i < to; i++) {
        const told = this.at(i)?.loan[figure];
        if (told !== undefined) values.push(told === null ? null : Number(told));
      }
    }
    this.#members ??= new Set(this.order);
    let entered = 0;
    for (const id of this.#best) if (!this.#members.has(id)) entered += 1;
    return displaced(values, descends) + entered;
  }
}
