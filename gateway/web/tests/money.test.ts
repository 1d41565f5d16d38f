import { describe, expect, it } from "vitest";
import { decimal, discountOf, divide, floorTo, fractionOf, part, percentOf, plain, sum, units } from "../src/lib/money";

describe("decimals are integers", () => {
  it.each([
    ["97.25", 9725n],
    ["0.1", 10n],
    ["-0.01", -1n],
    ["1234567890123456.78", 123456789012345678n],
    [".5", 50n],
    ["5.", 500n],
    ["1.2300", 123n],
  ])("reads %s", (text, value) => expect(units(text)).toBe(value));

  it.each(["", " ", ".", "1.234", "1e5", "1,000", "--1", "NaN", "１"])("refuses %j", (text) => {
    expect(units(text)).toBeNull();
  });

  it("writes what it reads, beyond what a float holds", () => {
    for (const text of ["0.00", "0.07", "-0.07", "90071992547409931.23", "-12.00"]) {
      expect(decimal(units(text) as bigint)).toBe(text);
    }
    expect(decimal(128412n, 6)).toBe("0.128412");
    expect(decimal(7n, 0)).toBe("7");
  });

  it("adds without losing a cent", () => {
    expect(decimal(sum(Array.from({ length: 1_000 }, () => "0.10")))).toBe("100.00");
    expect(sum(["1.00", null])).toBe(100n);
  });

  it.each([
    [5n, 2n, 3n],
    [-5n, 2n, -3n],
    [4n, 3n, 1n],
    [0n, 7n, 0n],
  ])("divides %d by %d half away from zero", (a, b, quotient) => expect(divide(a, b)).toBe(quotient));
});

describe("one thing said in several ways", () => {
  it("turns prices and discounts into each other and back", () => {
    expect(discountOf("97.25")).toBe("2.75");
    expect(discountOf("103.5")).toBe("-3.50");
    for (let price = 1n; price < 20_000n; price += 37n) {
      const text = decimal(price);
      expect(discountOf(discountOf(text))).toBe(text);
    }
    expect(discountOf("97.255")).toBeNull();
  });

  it("turns fractions and percents into each other", () => {
    expect(percentOf("0.128412")).toBe("12.8412");
    expect(fractionOf("14")).toBe("0.140000");
    expect(fractionOf("14.12345")).toBeNull();
  });

  it("takes parts in whole lots, never too much", () => {
    expect(floorTo(1_234n, 100n)).toBe(1_200n);
    expect(part(999n, 50, 100n)).toBe(400n);
    expect(part(1_001n, 100, 1n)).toBe(1_001n);
  });
});

it.each([
  ["1,000", "1000"],
  ["1,234,567.89", "1234567.89"],
  ["１２３．４５", "123.45"],
  ["98。5", "98.5"],
  ["\u22121.25", "-1.25"],
  [" 100 ", "100"],
  ["1,5", "1,5"], // which of the two is meant, nobody knows
  ["1,00", "1,00"],
  ["1e5", "1e5"],
])("%s is typed, %s is meant", (typed, meant) => {
  expect(plain(typed)).toBe(meant);
});
