/** A refusal in the reader's words: what to do about it, and what was found and needed. */

import { isSaid, number, say, t } from "./i18n.svelte";

export interface Refused {
  code: string;
  have?: string;
  need?: string;
  rule?: string;
}

export function advice(code: string): string {
  const key = `error.${code}`;
  return isSaid(key) ? t(key) : t("error.other");
}

export function facts({ have, need, rule }: Omit<Refused, "code">): string {
  const parts: string[] = [];
  if (have && need) parts.push(t("error.haveNeed", { have: number(have), need: number(need) }));
  if (rule) parts.push(t("error.rule", { rule: say("rule", rule) }));
  return parts.join(" ");
}

export const refusalWords = (refused: Refused): string => `${advice(refused.code)} ${facts(refused)}`.trim();
