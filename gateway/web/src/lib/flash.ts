/** A figure that changed lights up once. Two names of the same animation, so that a second change starts it anew. */

import type { Shown } from "./listing.svelte";

const FLASH_MS = 900; // as in base.css

export function flashOf(shown: Shown | undefined, ...fields: string[]): string {
  if (!shown || shown.times === 0 || performance.now() - shown.at > FLASH_MS) return "";
  if (!fields.some((field) => shown.changed.has(field))) return "";
  return shown.times % 2 ? "flash-odd" : "flash-even";
}
