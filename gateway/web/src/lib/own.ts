/** Own orders in a loan's book: an order that meets one of them is cancelled, it never trades. */

import { units } from "./money";
import type { Order, Side } from "./types";

const price = (text: string | null): bigint => units(text) ?? 0n;

/** Whether an order of the side at `limit` would reach a resting order at `resting`. */
const reaches = (side: Side, limit: bigint, resting: bigint): boolean => (side === "buy" ? limit >= resting : limit <= resting);

/** The own order that an order of the side would meet first, or null: its price. */
export function standing(side: Side, own: Order[]): string | null {
  const other = own.filter((order) => order.side !== side && order.limit_price !== null);
  const [first] = other.sort((a, b) => Number(price(a.limit_price) - price(b.limit_price)) * (side === "buy" ? 1 : -1));
  return first?.limit_price ?? null;
}

/** Whether an order of the side that trades up to (down to) `limit` would meet an own order. */
export function meetsOwn(side: Side, limit: string | null | undefined, own: Order[]): boolean {
  const [first, last] = [units(standing(side, own)), units(limit)];
  return first !== null && last !== null && reaches(side, last, first);
}
