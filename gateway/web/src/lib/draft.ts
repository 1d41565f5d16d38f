/** Half-filled tickets, kept in this tab alone so that a reload loses nothing: one for each account and loan. */

import type { Amount, By, Kind, Lasting } from "./ticket.svelte";
import type { Side } from "./types";

/** What was filled in, and the id that the order bears: sent again it is the same order. */
export interface Draft {
  side: Side;
  kind: Kind;
  by: By;
  /** Of what `by` names: price, discount or yield. */
  value: string;
  amount: Amount;
  /** Of what `amount` names: face or cash. */
  size: string;
  lasting: Lasting;
  until: string;
  postOnly: boolean;
  minQty: string;
  displayQty: string;
  pegged: boolean;
  id: string;
}

const PREFIX = "debt-market.ticket.";
/** account: null for who is not signed in. */
const keyOf = (account: string | null, loanId: string): string => `${PREFIX}${account ?? ""} ${loanId}`;

export const drafts = {
  read(account: string | null, loanId: string): Draft | null {
    try {
      return JSON.parse(sessionStorage.getItem(keyOf(account, loanId)) ?? "null") as Draft | null;
    } catch {
      return null; // storage is off, or holds what is no draft
    }
  },

  /** Keep a draft, or forget it: null. */
  write(account: string | null, loanId: string, draft: Draft | null): void {
    try {
      if (draft) sessionStorage.setItem(keyOf(account, loanId), JSON.stringify(draft));
      else sessionStorage.removeItem(keyOf(account, loanId));
    } catch {
      // storage is full or off: the ticket lasts as long as the page
    }
  },

  forgetAll(): void {
    try {
      for (const key of Object.keys(sessionStorage)) if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
    } catch {
      // storage is off: nothing was kept
    }
  },
};
