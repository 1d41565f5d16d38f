/** Days of the market: they begin and end by the clock of its time zone, not of the reader's. */

const PARTS: Intl.DateTimeFormatOptions = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

/** What a clock on the wall of the zone shows, as if it were UTC: ms since 1970. */
function wallClock(at: number, zone: string): number {
  const shown = new Intl.DateTimeFormat("en-US", { ...PARTS, timeZone: zone }).formatToParts(at);
  const [year, month, day, hour, minute, second] = (["year", "month", "day", "hour", "minute", "second"] as const).map((type) =>
    Number(shown.find((part) => part.type === type)?.value),
  ) as [number, number, number, number, number, number];
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** The date in the zone, `"2026-11-30"`. at: ms since 1970. */
export const dateIn = (zone: string, at: number): string => new Date(wallClock(at, zone)).toISOString().slice(0, 10);

/** The last second of a day (`"2026-11-30"`) in the zone, as the API takes a time; null if there is no such day. */
export function endOfDay(date: string, zone: string): string | null {
  const shown = Date.parse(`${date}T23:59:59Z`);
  if (Number.isNaN(shown)) return null;
  // The zone's distance from UTC is looked up where the time would be, then where it is: clocks may be changed between.
  let at = shown;
  for (let round = 0; round < 2; round += 1) at = shown - (wallClock(at, zone) - at);
  return new Date(at).toISOString();
}
