/** Words, numbers and dates in the reader's language. A key that a language lacks fails the build (vite.config.ts). */

import keys from "virtual:words";
import type { en } from "../locales/en";
import type { operator } from "../locales/en/operator";
import { discountOf } from "./money";
import { remembered } from "./remembered";

export type Key = keyof typeof en | keyof typeof operator;
export type Language = "en" | "zh";
type Texts = Record<string, string>;

const WORDS: Record<Language, Texts> = { en: {}, zh: {} };
/** Each language comes by itself, when it is asked for. */
const LOADED = { en: () => import("virtual:words/en"), zh: () => import("virtual:words/zh") };

/** Take the words of a language: texts in the order of their keys. */
export function addWords(language: Language, keys: string[], texts: string[]): void {
  for (const [i, key] of keys.entries()) WORDS[language][key] = texts[i] ?? "";
}

const LOCALES: Record<Language, string> = { en: "en-GB", zh: "zh-CN" };

const kept = remembered<Language>("language", navigator.language.startsWith("zh") ? "zh" : "en");

class Words {
  language = $state<Language>(kept.read() in LOCALES ? kept.read() : "en");
  isLoading = $state(false);
  isLacking = $state(false);

  /** Speak a language, once its texts are here; false, and as before, if they can't be had. */
  async choose(language: Language): Promise<boolean> {
    this.isLoading = true;
    try {
      addWords(language, keys, (await LOADED[language]()).default);
    } catch {
      this.isLacking = true;
      return false;
    } finally {
      this.isLoading = false;
    }
    this.isLacking = false;
    if (language !== this.language) kept.write(language);
    this.language = language;
    return true;
  }

  get locale(): string {
    return LOCALES[this.language];
  }
}

export const words = new Words();

/** Whether we have a word for it. */
export const isSaid = (key: string): key is Key => key in WORDS[words.language];

export function t(key: Key, values: Record<string, string | number> = {}): string {
  return (WORDS[words.language][key] ?? key).replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

/** Say a word of the API, such as a status or a grade of guarantee; what we have no word for is shown as it is. */
export function say(group: string, word: string | null | undefined): string {
  if (word === null || word === undefined) return "—";
  const key = `${group}.${word}`;
  return isSaid(key) ? t(key) : word;
}

const formats = new Map<string, Intl.NumberFormat>();

function numberFormat(places: number, least: number, style: "decimal" | "percent"): Intl.NumberFormat {
  const name = `${words.locale} ${places} ${least} ${style}`;
  let format = formats.get(name);
  if (!format) {
    format = new Intl.NumberFormat(words.locale, {
      style,
      minimumFractionDigits: least,
      maximumFractionDigits: places,
    });
    formats.set(name, format);
  }
  return format;
}

/** Format a decimal string exactly: Intl reads its digits, no float is made of it. */
export function number(text: string | null | undefined, places = 2, least = places): string {
  return text === null || text === undefined ? "—" : numberFormat(places, least, "decimal").format(text as `${number}`);
}

export function whole(value: number): string {
  return numberFormat(0, 0, "decimal").format(value);
}

/** A quantity: cents only where there are some. */
export function quantity(text: string | null | undefined): string {
  return text && /^-?\d+(\.0*)?$/.test(text) ? number(text, 0) : number(text);
}

export function money(text: string | null | undefined, currency: string): string {
  return text === null || text === undefined ? "—" : `${number(text)} ${currency}`;
}

export function signed(text: string | null | undefined): string {
  if (text === null || text === undefined) return "—";
  return text.startsWith("-") || /^0*\.?0*$/.test(text) ? number(text) : `+${number(text)}`;
}

/** A fraction of the API as percent: `"0.128412"` is 12.84 %. */
export function percent(fraction: string | null | undefined, places = 2): string {
  return fraction === null || fraction === undefined
    ? "—"
    : numberFormat(places, places, "percent").format(fraction as `${number}`);
}

/** Points of percent as the API tells discounts: `"1.25"` is 1.25 %. */
export function points(text: string | null | undefined, places = 2): string {
  return percent(text ? `${text}e-2` : null, places);
}

const clocks = new Map<string, Intl.DateTimeFormat>();

/** Formats are costly to make: one of a kind is kept. */
function dateFormat(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const name = `${words.locale} ${JSON.stringify(options)}`;
  let format = clocks.get(name);
  if (!format) {
    format = new Intl.DateTimeFormat(words.locale, options);
    clocks.set(name, format);
  }
  return format;
}

export function day(text: string | null | undefined): string {
  if (!text) return "—";
  const [year, month, date] = text.slice(0, 10).split("-").map(Number);
  const at = new Date(Date.UTC(year ?? 0, (month ?? 1) - 1, date ?? 1));
  return dateFormat({ dateStyle: "medium", timeZone: "UTC" }).format(at);
}

/** A month as a chart's axis has room for it: "Dec 26". */
export function shortMonth(date: string): string {
  const at = new Date(`${date.slice(0, 7)}-01T00:00:00Z`);
  return new Intl.DateTimeFormat(words.locale, { year: "2-digit", month: "short", timeZone: "UTC" }).format(at);
}

export function moment(text: string | null | undefined, { seconds = true } = {}): string {
  if (!text) return "—";
  const timeStyle = seconds ? "medium" : "short";
  return dateFormat({ dateStyle: "short", timeStyle }).format(new Date(text));
}

export function clock(at: Date | string): string {
  return dateFormat({ timeStyle: "medium" }).format(new Date(at));
}

const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
] as const;

/** A length of time in its two largest units: "2 days 6 hr", "45 sec". */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return "—";
  const first = UNITS.findIndex(([, size]) => seconds >= size);
  if (first < 0) return t("unit.underSecond");
  let left = seconds;
  const parts = UNITS.slice(first, first + 2).map(([unit, size]) => {
    const count = Math.floor(left / size);
    left -= count * size;
    return count > 0 ? durationPart(count, unit) : "";
  });
  return parts.filter(Boolean).join(" ");
}

function durationPart(count: number, unit: string): string {
  return new Intl.NumberFormat(words.locale, { style: "unit", unit, unitDisplay: "short" }).format(count);
}

export function months(count: number): string {
  return t(count === 1 ? "unit.month" : "unit.months", { n: whole(count) });
}

/** A price as what it is off par: "discount 1.25%" or "premium 0.40%". */
export function discountWords(price: string): string {
  const off = discountOf(price) ?? "0";
  const size = points(off.replace("-", ""));
  return t(off.startsWith("-") ? "price.premium" : "price.discount", { n: size });
}
