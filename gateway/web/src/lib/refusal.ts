/** A refusal in the reader's words: what is wrong and what to do about it, and the facts that the API tells beside its code. */

import type { ApiError } from "./api";
import { duration, isSaid, number, say, t } from "./i18n.svelte";

/** What a refusal may tell (docs/errors.md). Amounts and prices are decimal texts. */
export interface Refused {
  code: string;
  field?: string | null | undefined;
  rule?: string;
  bound?: string;
  have?: string;
  need?: string;
  currency?: string;
  mode?: string;
  reason?: string;
  loan_status?: string;
  order_status?: string;
  retry_after_ms?: number;
}

/** Rules whose bound is a price. */
const OF_PRICE = new Set(["collar_pct", "price_min", "price_max", "premium_allowed", "max_discount_pct", "yield_floor"]);
/** Codes that cover too much for words of our own: the market's English says more. */
const NEEDS_NOTE = new Set(["invalid_arguments", "unknown_field"]);

export const refusedOf = (error: ApiError): Refused => ({ ...error.more, code: error.code, field: error.field });

/** `limit_price` is a price. */
const plainly = (field: string): string => field.replace(/^(limit|min|max|order|new)_/, "");

/** The words that are for this case of the code, if there are some. */
function special({ code, rule, field }: Refused): string | undefined {
  const cases = [rule, field && plainly(field)];
  return cases.map((each) => `error.${code}.${each}`).find(isSaid);
}

export function advice(refused: Refused): string {
  const key = special(refused) ?? `error.${refused.code}`;
  return isSaid(key) ? t(key) : t("error.other");
}

/** A field by its words on the page; `fees.seller.rate` is one within others. */
export function fieldWords(path: string): string {
  return path.split(".").map(nameOf).join(" › ");
}

function nameOf(field: string): string {
  if (/^\d+$/.test(field)) return String(Number(field) + 1);
  const key = [`field.${field}`, `rulebook.${field}`, `field.${plainly(field)}`].find(isSaid);
  return key === undefined ? field : t(key);
}

export function facts(refused: Refused): string {
  const { have, need, currency = "", rule, bound, field, mode, reason, loan_status, order_status, retry_after_ms } = refused;
  const parts: string[] = [];
  if (rule && special(refused) === undefined) {
    const of = bound && !OF_PRICE.has(rule) ? ` (${number(bound)})` : "";
    parts.push(t("error.rule", { rule: say("rule", rule) + of }));
  }
  if (rule && bound && OF_PRICE.has(rule)) parts.push(t("error.bound", { price: number(bound) }));
  if (have && need) {
    const amount = (text: string): string => `${number(text)} ${currency}`.trim();
    parts.push(t(rule?.startsWith("limit_") ? "error.room" : "error.haveNeed", { have: amount(have), need: amount(need) }));
  }
  if (mode) parts.push(say("mode.long", mode));
  if (reason) parts.push(t("error.given", { reason }));
  const state = loan_status ? say("loanStatus", loan_status) : order_status ? say("orderStatus", order_status) : "";
  if (state) parts.push(t("error.state", { state }));
  if (retry_after_ms) parts.push(t("error.retryAfter", { time: duration(Math.ceil(retry_after_ms / 1000)) }));
  if (field && NEEDS_NOTE.has(refused.code)) parts.push(t("error.field", { field: fieldWords(field) }));
  return parts.join(" ");
}

/** Whether our words leave out what the market's own text says: for want of a rule that we have words for, or of any. */
export const needsNote = (refused: Refused): boolean =>
  !isSaid(`error.${refused.code}`) || (NEEDS_NOTE.has(refused.code) && !refused.rule && special(refused) === undefined);

export const refusalWords = (refused: Refused): string => `${advice(refused)} ${facts(refused)}`.trim();
