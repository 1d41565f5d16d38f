/** Sums over a portfolio. Money is added as integers; shares and averages of it are ratios of integers. */

import { decimal, divide, sum, units } from "./money";
import type { Balances, CashflowTotal, Loan, Position, Quote } from "./types";

export const isHeld = ({ total }: { total: string }): boolean => (units(total) ?? 0n) > 0n;

/** Whether cash and positions are of one moment: no fill, transfer or repayment came between the two answers. */
export function agree({ claims }: Balances, positions: Position[]): boolean {
  const told = new Map(claims.filter(isHeld).map(({ loan_id, total, held }) => [loan_id, `${total} ${held}`]));
  return told.size === positions.length && positions.every(({ loan_id, total, held }) => told.get(loan_id) === `${total} ${held}`);
}

/** What a sale at the quote would realise: proceeds less what the part that is filled had cost, both without accrued interest. */
export function realisedBy(quote: Quote, position: Position): string | null {
  const [total, cost, asked] = [units(position.total), units(position.cost), units(quote.qty)];
  if (!total || cost === null || asked === null || asked > total) return null;
  const sold = asked - (units(quote.unfilled_qty) ?? 0n);
  return decimal((units(quote.principal) ?? 0n) - divide(cost * sold, total) - (units(quote.fee) ?? 0n));
}

export interface CurrencyTotal {
  currency: string;
  value: string;
  cost: string;
  accrued: string;
  unrealised: string;
  /** By market value; null where no position has a yield. */
  ytm: string | null;
}

export function totalsOf(positions: Position[]): CurrencyTotal[] {
  const currencies = [...new Set(positions.map(({ currency }) => currency))].sort();
  return currencies.map((currency) => {
    const held = positions.filter((each) => each.currency === currency);
    const yielding = held.filter(({ ytm, market_value }) => ytm !== null && market_value !== null);
    const weight = yielding.reduce((all, each) => all + (units(each.market_value) ?? 0n), 0n);
    const weighted = yielding.reduce(
      (all, each) => all + (units(each.market_value) ?? 0n) * (units(each.ytm, 6) ?? 0n),
      0n,
    );
    return {
      currency,
      value: decimal(sum(held.map(({ market_value }) => market_value))),
      cost: decimal(sum(held.map(({ cost }) => cost))),
      accrued: decimal(sum(held.map(({ accrued }) => accrued))),
      unrealised: decimal(sum(held.map(({ unrealised }) => unrealised))),
      ytm: weight > 0n ? decimal(divide(weighted, weight), 6) : null,
    };
  });
}

export interface Month {
  month: string;
  principal: string;
  interest: string;
  amount: string;
}

/** Expected cash by calendar month, of one currency. */
export function monthsOf(flows: CashflowTotal[], currency: string): Month[] {
  const months = new Map<string, CashflowTotal[]>();
  for (const flow of flows) {
    if (flow.currency !== currency) continue;
    const month = flow.due_date.slice(0, 7);
    months.set(month, [...(months.get(month) ?? []), flow]);
  }
  return [...months].sort().map(([month, all]) => ({
    month,
    principal: decimal(sum(all.map(({ principal }) => principal))),
    interest: decimal(sum(all.map(({ interest }) => interest))),
    amount: decimal(sum(all.map(({ amount }) => amount))),
  }));
}

export interface Share {
  name: string;
  amount: string;
  /** Of the whole, as a fraction with four places. */
  share: string;
}

/** How the outstanding principal of one currency is spread, the largest first. */
export function sharesOf(positions: Position[], nameOf: (position: Position) => string): Share[] {
  const amounts = new Map<string, bigint>();
  for (const position of positions) {
    const name = nameOf(position);
    amounts.set(name, (amounts.get(name) ?? 0n) + (units(position.current_face) ?? 0n));
  }
  const total = [...amounts.values()].reduce((all, amount) => all + amount, 0n);
  return [...amounts]
    .sort(([, a], [, b]) => (a < b ? 1 : a > b ? -1 : 0))
    .map(([name, amount]) => ({
      name,
      amount: decimal(amount),
      share: total > 0n ? decimal(divide(amount * 10_000n, total), 4) : "0.0000",
    }));
}

/** The term a claim still has, in broad steps: the upper end in months, or null for what lies beyond. */
export const TERMS = [3, 6, 12, 24, 36];

export function termOf(loan: Loan | undefined): string {
  if (!loan) return "?";
  const end = TERMS.find((months) => loan.remaining_months <= months);
  return end === undefined ? `>${TERMS.at(-1)}` : `≤${end}`;
}
