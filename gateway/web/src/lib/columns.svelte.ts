/** The board's columns, and which of them the reader chose. */

import { SvelteSet } from "svelte/reactivity";
import type { Key } from "./i18n.svelte";
import { remembered } from "./remembered";

/** rem, least: its width, with the padding.  grows: its share of what room is left.
 *
 * sort: the API's word, where it can be sorted by.  descends: the first click wants the largest first. */
export interface Column {
  id: ColumnId;
  label: Key;
  hint?: Key;
  rem: number;
  grows?: number;
  isNumber?: boolean;
  sort?: string;
  descends?: boolean;
  isFixed?: boolean;
}

export type ColumnId =
  | "watch"
  | "loan"
  | "grade"
  | "type"
  | "history"
  | "rate"
  | "months"
  | "bid"
  | "ask"
  | "discount"
  | "yield"
  | "available"
  | "last"
  | "due"
  | "outstanding"
  | "region";

const num = { isNumber: true } as const;

export const COLUMNS: Column[] = [
  { id: "watch", label: "column.watch", rem: 2, isFixed: true },
  { id: "loan", label: "column.loan", rem: 8, grows: 4, sort: "loan_id", isFixed: true },
  { id: "grade", label: "column.grade", rem: 3.25, sort: "grade" },
  { id: "type", label: "column.type", hint: "hint.type", rem: 6.75, grows: 3, sort: "claim_type" },
  { id: "history", label: "column.history", hint: "hint.history", rem: 6.75, grows: 3, sort: "history", descends: true },
  { id: "rate", label: "column.rate", hint: "hint.rate", rem: 4.25, grows: 1, sort: "rate", descends: true, ...num },
  { id: "months", label: "column.months", rem: 5.25, grows: 1, sort: "remaining_months", ...num },
  { id: "due", label: "column.due", rem: 6.5, grows: 1, ...num },
  { id: "outstanding", label: "column.outstanding", rem: 7, grows: 1, ...num },
  { id: "region", label: "column.region", rem: 6, grows: 2 },
  { id: "bid", label: "column.bid", hint: "hint.bid", rem: 5, grows: 2, sort: "bid", descends: true, ...num },
  { id: "ask", label: "column.ask", hint: "hint.ask", rem: 5, grows: 2, sort: "price", ...num },
  { id: "discount", label: "column.discount", hint: "hint.discount", rem: 5, grows: 1, sort: "discount", descends: true, ...num },
  { id: "yield", label: "column.yield", hint: "hint.yield", rem: 6, grows: 1, sort: "ytm", descends: true, ...num },
  { id: "available", label: "column.available", hint: "hint.available", rem: 6, grows: 2, sort: "available", descends: true, ...num },
  { id: "last", label: "column.last", rem: 3.75, grows: 1, sort: "last", descends: true, ...num },
];

/** The columns as a grid lays them out, and the least that they need side by side. */
export const layoutOf = (columns: Column[]): { template: string; rem: number } => ({
  template: columns.map(({ rem, grows }) => (grows ? `minmax(${rem}rem, ${grows}fr)` : `${rem}rem`)).join(" "),
  rem: columns.reduce((sum, column) => sum + column.rem, 0),
});

const OFF_AT_FIRST = new Set<ColumnId>(["due", "outstanding", "region"]);
const kept = remembered<ColumnId[]>(
  "columns",
  COLUMNS.map(({ id }) => id).filter((id) => !OFF_AT_FIRST.has(id)),
);

class ChosenColumns {
  #ids = new SvelteSet<ColumnId>(kept.read());

  has(id: ColumnId): boolean {
    return this.#ids.has(id) || COLUMNS.some((column) => column.id === id && column.isFixed);
  }

  toggle(id: ColumnId): void {
    if (!this.#ids.delete(id)) this.#ids.add(id);
    kept.write([...this.#ids]);
  }
}

export const chosenColumns = new ChosenColumns();
