/** Decimals of the API as integers: no float ever meets an amount. Yields and rates have six places, all else two. */

const DECIMAL = /^([+-]?)(\d*)(?:\.(\d*))?$/;

/** What was typed or pasted as the API writes it: digits of a full-width keyboard and thousands apart are read as well. */
export function plain(typed: string): string {
  const text = typed.normalize("NFKC").replace(/\u3002/g, ".").replace(/\u2212/g, "-").trim();
  return /^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$/.test(text) ? text.replaceAll(",", "") : text;
}

/** Return `text` in units of 10^-places, or null if it is no decimal or finer than that. */
export function units(text: string | null | undefined, places = 2): bigint | null {
  const found = DECIMAL.exec((text ?? "").trim());
  if (!found) return null;
  const [, sign, whole = "", given = ""] = found;
  if (whole === "" && given === "") return null;
  const fraction = given.replace(/0+$/, "");
  if (fraction.length > places) return null;
  const value = BigInt((whole || "0") + fraction.padEnd(places, "0"));
  return sign === "-" ? -value : value;
}

/** Return an amount in units of 10^-places as the API writes it: `"1234.50"`. */
export function decimal(value: bigint, places = 2): string {
  const digits = (value < 0n ? -value : value).toString().padStart(places + 1, "0");
  const cut = digits.length - places;
  return `${value < 0n ? "-" : ""}${digits.slice(0, cut)}${places ? `.${digits.slice(cut)}` : ""}`;
}

/** Return the quotient, rounded to the nearest integer, halves away from zero. divisor: > 0. */
export function divide(dividend: bigint, divisor: bigint): bigint {
  const sign = dividend < 0n ? -1n : 1n;
  const size = dividend * sign;
  return sign * ((2n * size + divisor) / (2n * divisor));
}

export function sum(amounts: Iterable<string | null>): bigint {
  let total = 0n;
  for (const amount of amounts) total += units(amount) ?? 0n;
  return total;
}

/** Discount in percent of a price in percent, and back: each is 100 less the other. */
export function discountOf(price: string | null): string | null {
  const value = units(price);
  return value === null ? null : decimal(10_000n - value);
}

/** `"0.128412"` as `"12.8412"`; and back. */
export function percentOf(fraction: string): string | null {
  const value = units(fraction, 6);
  return value === null ? null : decimal(value, 4);
}
export function fractionOf(percent: string): string | null {
  const value = units(percent, 4);
  return value === null ? null : decimal(value, 6);
}

/** Round down to a whole number of lots. */
export function floorTo(value: bigint, lot: bigint): bigint {
  return lot > 0n ? (value / lot) * lot : value;
}

/** Of `have`, the part `share` / 100, rounded to a whole number of lots: down, so that it is never too much. */
export function part(have: bigint, share: number, lot: bigint): bigint {
  return floorTo((have * BigInt(share)) / 100n, lot);
}
