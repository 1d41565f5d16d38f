/** The market's days end by the market's clock, wherever the reader is and however clocks are changed. */
import { expect, it } from "vitest";
import { dateIn, endOfDay } from "../src/lib/zone";

it.each([
  ["2026-11-30", "UTC", "2026-11-30T23:59:59.000Z"],
  ["2026-11-30", "Asia/Shanghai", "2026-11-30T15:59:59.000Z"],
  ["2026-11-30", "America/New_York", "2026-12-01T04:59:59.000Z"],
  ["2026-03-08", "America/New_York", "2026-03-09T03:59:59.000Z"], // clocks went forward that night
  ["2026-11-01", "America/New_York", "2026-11-02T04:59:59.000Z"], // and back
  ["2026-10-24", "Europe/Berlin", "2026-10-24T21:59:59.000Z"],
  ["2026-10-25", "Europe/Berlin", "2026-10-25T22:59:59.000Z"],
  ["2026-11-30", "Pacific/Kiritimati", "2026-11-30T09:59:59.000Z"],
])("the end of %s in %s is %s", (date, zone, end) => {
  expect(endOfDay(date, zone)).toBe(end);
});

it("there is no end of what is no day", () => {
  expect(endOfDay("", "UTC")).toBeNull();
  expect(endOfDay("2026-13-01", "UTC")).toBeNull();
});

it.each([
  ["2026-11-30T15:59:59Z", "Asia/Shanghai", "2026-11-30"],
  ["2026-11-30T16:00:00Z", "Asia/Shanghai", "2026-12-01"],
  ["2026-11-30T04:59:59Z", "America/New_York", "2026-11-29"],
])("at %s it is, in %s, %s", (at, zone, date) => {
  expect(dateIn(zone, Date.parse(at))).toBe(date);
});
