/** How a loan stands, as a word, a sign and a tone: late, halted or fine, and whether it ever was late. */

import { say, t } from "./i18n.svelte";
import type { Loan } from "./types";

export interface Condition {
  tone: "good" | "warn" | "bad" | "";
  text: string;
}

export function conditionOf(loan: Pick<Loan, "halted" | "status" | "history">): Condition {
  if (loan.halted) return { tone: "bad", text: `‖ ${t("status.halted")}` };
  if (loan.status === "default" || loan.status === "written_off") {
    return { tone: "bad", text: `✕ ${say("loanStatus", loan.status)}` };
  }
  if (loan.status === "late" || loan.status === "grace") {
    return { tone: "warn", text: `! ${say("loanStatus", loan.status)}` };
  }
  if (loan.status !== "current") return { tone: "", text: say("loanStatus", loan.status) };
  if (loan.history.never_late) return { tone: "good", text: `✓ ${t("history.neverLate")}` };
  return { tone: "", text: t("history.wasLate") };
}
