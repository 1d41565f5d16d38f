/** The figures that the board is filtered by from and to: their words, units, and forms in the API and on the page. */

import type { Key } from "./i18n.svelte";
import { fractionOf, percentOf } from "./money";

export interface FigureRange {
  name: string;
  label: Key;
  unit: Key;
  isFraction?: boolean;
  isWhole?: boolean;
}

export const RANGES: FigureRange[] = [
  { name: "ytm", label: "column.yield", isFraction: true, unit: "unit.percent" },
  { name: "discount", label: "column.discount", unit: "unit.percent" },
  { name: "remaining_months", label: "column.months", isWhole: true, unit: "unit.monthsWord" },
  { name: "rate", label: "column.rate", isFraction: true, unit: "unit.percent" },
  { name: "price", label: "column.price", unit: "unit.percent" },
  { name: "bid", label: "column.bid", unit: "unit.percent" },
  { name: "available", label: "column.available", unit: "unit.currency" },
];

/** What is on offer at all: the least amount that the filter "only what is on offer" asks for. */
export const ANYTHING = "0.01";

/** A bound of the API as it is typed and read: `"0.1200"` is `"12"`. */
export function shownBound(range: FigureRange, value: string | undefined): string {
  const text = value === undefined ? "" : range.isFraction ? (percentOf(value) ?? "") : value;
  return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
}

/** A typed bound as the API takes it, null if it can't be read. */
export function meantBound(range: FigureRange, typed: string): string | null {
  if (range.isFraction) return fractionOf(typed);
  if (range.isWhole) return /^\d+$/.test(typed) ? typed : null;
  return /^-?\d+(\.\d{1,2})?$/.test(typed) ? typed : null;
}
