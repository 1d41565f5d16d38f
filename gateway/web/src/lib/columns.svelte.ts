/** The board's columns, and which of them the reader chose. */

import { SvelteSet } from "svelte/reactivity";
import type { Key } from "./i18n.svelte";
import { remembered } from "./remembered";

/** sort: the API's word, where it can be sorted by.  descends: the first click wants the largest first. */
export interface Column {
  id: ColumnId;
  label: Key;
  hint?: Key;
  width: string;
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
  { id: "watch", label: "column.watch", width: "2.5rem", isFixed: true },
  { id: "loan", label: "column.loan", width: "minmax(8.5rem, 1.4fr)", isFixed: true },
  { id: "grade", label: "column.grade", width: "3.5rem" },
  { id: "type", label: "column.type", hint: "hint.type", width: "minmax(7rem, 1fr)" },
  { id: "history", label: "column.history", hint: "hint.history", width: "minmax(7rem, 1fr)" },
  { id: "rate", label: "column.rate", hint: "hint.rate", width: "5rem", sort: "rate", descends: true, ...num },
  { id: "months", label: "column.months", width: "5.5rem", sort: "remaining_months", ...num },
  { id: "due", label: "column.due", width: "7rem", ...num },
  { id: "outstanding", label: "column.outstanding", width: "8rem", ...num },
  { id: "region", label: "column.region", width: "minmax(6rem, 1fr)" },
  { id: "bid", label: "column.bid", hint: "hint.bid", width: "6rem", sort: "bid", descends: true, ...num },
  { id: "ask", label: "column.ask", hint: "hint.ask", width: "6rem", sort: "price", ...num },
  { id: "discount", label: "column.discount", hint: "hint.discount", width: "5.5rem", sort: "discount", descends: true, ...num },
  { id: "yield", label: "column.yield", hint: "hint.yield", width: "6.5rem", sort: "ytm", descends: true, ...num },
  { id: "available", label: "column.available", hint: "hint.available", width: "7.5rem", sort: "available", descends: true, ...num },
  { id: "last", label: "column.last", width: "5rem", ...num },
];

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
