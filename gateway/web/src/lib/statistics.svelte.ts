/** Statistics as the API tells them (docs/statistics.md), and what the pages read out of them. */

import { Action } from "./action.svelte";
import { market } from "./api";
import { duration, number, t } from "./i18n.svelte";
import { units } from "./money";

export interface Traded {
  days: number;
  trades: number;
  face: string;
  vwap: string | null;
  discount: string | null;
}

export interface TimeToSell {
  fills: number;
  face: string;
  p50_s: number | null;
  p90_s: number | null;
}

export interface Figures {
  currency: string;
  last: string | null;
  last_at: string | null;
  windows: Traded[];
  time_to_sell: TimeToSell;
}

export interface StatisticsRow extends Figures {
  grade: string | null;
  discount_from: string | null;
  discount_to: string | null;
}

export interface MarketStatistics {
  computed_at: string;
  items: StatisticsRow[];
}

export interface LoanStatistics extends Figures {
  loan_id: string;
  grade: string;
  computed_at: string;
  by_discount: StatisticsRow[];
}

export const DAYS = [1, 7, 30] as const;

export function windowOf(figures: Figures, days: number): Traded | undefined {
  return figures.windows.find((each) => each.days === days);
}

/** The row of the step of discount that a price falls into: from its lower end, up to but not with its upper. */
export function rowOfPrice(rows: StatisticsRow[], currency: string, price: string | null): StatisticsRow | undefined {
  const value = units(price);
  if (value === null) return undefined;
  const discount = 10_000n - value;
  return rows.find((row) => {
    const [from, to] = [units(row.discount_from), units(row.discount_to)];
    return row.currency === currency && (from === null || discount >= from) && (to === null || discount < to);
  });
}

/** A step of discount in words: "1–2 %", "above par". */
export function stepWords({ discount_from: from, discount_to: to }: Pick<StatisticsRow, "discount_from" | "discount_to">): string {
  const short = (text: string): string => number(text, 2, 0);
  if (from === null) return t("statistics.step.premium");
  return to === null ? t("statistics.step.top", { from: short(from) }) : t("statistics.step", { from: short(from), to: short(to) });
}

export const within = ({ time_to_sell }: Figures): { median: string; most: string; n: number } => ({
  median: duration(time_to_sell.p50_s),
  most: duration(time_to_sell.p90_s),
  n: time_to_sell.fills,
});

const FRESH_MS = 15_000; // the service adds up no oftener

/** One choice of rows, read when it is first looked at and again when it is no longer fresh. */
class Rows {
  reading = new Action(() => market.statistics(this.by));
  #at = -Infinity;

  constructor(readonly by: string) {}

  get rows(): StatisticsRow[] {
    return this.reading.result?.items ?? [];
  }

  get computedAt(): string | null {
    return this.reading.result?.computed_at ?? null;
  }

  /** Read them unless they are fresh. */
  look(): void {
    if (this.reading.isPending || performance.now() - this.#at < FRESH_MS) return;
    this.#at = performance.now();
    void this.reading.run();
  }

  again(): void {
    this.#at = -Infinity;
    this.look();
  }
}

export const byGrade = new Rows("grade");
export const byDiscount = new Rows("discount");
export const byBoth = new Rows("grade,discount");
