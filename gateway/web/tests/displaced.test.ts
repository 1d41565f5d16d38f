import { expect, test } from "vitest";
import { displaced } from "../src/lib/displaced";

test.each([
  [[], 0],
  [[1, 2, 2, 3], 0],
  [[1, 9, 2, 3], 1],
  [[3, 2, 1], 2],
  [[1, null, 2, 3], 1],
  [[1, 2, null, null], 0],
])("of %j at least %i must move", (values, expected) => {
  expect(displaced(values, false)).toBe(expected);
});

test("the other way round, null still stands last", () => {
  expect(displaced([3, 2, 2, 1, null], true)).toBe(0);
  expect(displaced([null, 3, 2], true)).toBe(1);
});

test("it is what a plain search through all choices finds", () => {
  let seed = 7;
  const random = (below: number): number => (seed = (seed * 48271) % 2147483647) % below;
  for (let round = 0; round < 200; round++) {
    const values = Array.from({ length: 1 + random(7) }, () => random(5));
    let longest = 0;
    for (let chosen = 0; chosen < 2 ** values.length; chosen++) {
      const kept = values.filter((_, i) => chosen & (1 << i));
      if (kept.every((value, i) => i === 0 || (kept[i - 1] as number) <= value)) longest = Math.max(longest, kept.length);
    }
    expect(displaced(values, false)).toBe(values.length - longest);
  }
});
