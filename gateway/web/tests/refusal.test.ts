/** What a refusal tells, in both languages: our own words for its code, its facts, and the market's English only where they lack. */
import { beforeAll, expect, it, vi } from "vitest";
import { ApiError } from "../src/lib/api";
import { words } from "../src/lib/i18n.svelte";
import { needsNote, refusalWords, refusedOf, type Refused } from "../src/lib/refusal";

vi.hoisted(() => vi.stubGlobal("navigator", { language: "en" })); // what Node lacks, before the words look at it

const CASES: [Refused, string, string][] = [
  [
    { code: "insufficient_funds", field: "order_qty", have: "90200.00", need: "196000.00", currency: "USD" },
    "Not enough cash. Lower the amount, or cancel orders that hold cash. You have 90,200.00 USD and need 196,000.00 USD.",
    "资金不足，请减少数量或撤销占用资金的委托。 您有 90,200.00 USD，需要 196,000.00 USD。",
  ],
  [
    { code: "price_out_of_band", field: "limit_price", rule: "collar_pct", bound: "147.00" },
    "The price is too far from the market. Bring it closer to the last price. Rule: too far from the last price. The rule's limit: 147.00.",
    "价格偏离市场过大，请靠近最新价。 规则：偏离最新价过多。 该规则的界限：147.00。",
  ],
  [
    { code: "invalid_qty", field: "order_qty", rule: "lot", bound: "100.00" },
    "That quantity is not possible. Use whole lots. Rule: the quantity step (100.00).",
    "数量无效，请使用整数倍。 规则：数量最小变动 (100.00)。",
  ],
  [
    { code: "below_minimum", field: "order_qty", rule: "min_face", bound: "100.00", need: "100.00" },
    "That is below the smallest order. Raise the amount. Rule: the smallest order (100.00).",
    "低于起投金额，请提高数量。 规则：起投金额 (100.00)。",
  ],
  [
    { code: "rule_violation", field: "order_qty", rule: "limit_per_loan", bound: "500.00", have: "20.00", need: "100.00" },
    "The loan's rulebook does not allow that. Its rules stand beside the terms. Rule: your limit for one loan (500.00). Room left: 20.00; it would take 100.00.",
    "交易规则不允许此操作，规则见合同条款。 规则：单一标的限额 (500.00)。 剩余可用限额 20.00，此单需要 100.00。",
  ],
  [
    { code: "market_mode", mode: "post_only" },
    "The market does not take that at the moment. Wait until it is open again. The market takes only orders that rest in the book at the moment.",
    "市场当前不接受此操作，请等待开放。 市场目前只接受挂单（不立即成交的委托）。",
  ],
  [
    { code: "loan_halted", reason: "news" },
    "Trading in this loan is halted. Orders can be cancelled; wait until it resumes. Reason given: news.",
    "该标的已停牌，只能撤单，请等待恢复。 原因：news。",
  ],
  [
    { code: "order_closed", order_status: "canceled" },
    "The order has already ended. Your fills say what became of it. It is now: cancelled.",
    "委托已结束，结果见成交记录。 当前状态：已撤销。",
  ],
  [
    { code: "rate_limited", retry_after_ms: 59_500 },
    "Too many requests. Wait a moment, then try again. Try again in 1 min.",
    "请求过于频繁，请稍候再试。 请在 1分钟 后重试。",
  ],
  [
    { code: "duplicate_id", field: "login" },
    "Somebody has that login already. Choose another one.",
    "该登录名已被使用，请换一个。",
  ],
  [
    { code: "invalid_price", field: "limit_yield" },
    "No price of this loan gives such a yield today. Name another yield, or a price.",
    "今日没有价格能达到该收益率，请更换收益率或直接填写价格。",
  ],
  [
    { code: "invalid_arguments", field: "new_password", rule: "common" },
    "Something in the form can't be read. Correct the field that is named. Rule: this password is among the first that anybody would try. Field: Password.",
    "表单中有无法识别的内容，请修改提示的字段。 规则：该密码过于常见。 字段：密码。",
  ],
];

beforeAll(async () => {
  await words.choose("en");
  await words.choose("zh");
});

it.each(CASES)("%j is told in both languages, and needs no note", async (refused, english, chinese) => {
  await words.choose("en");
  expect(refusalWords(refused)).toBe(english);
  await words.choose("zh");
  expect(refusalWords(refused)).toBe(chinese);
  expect(needsNote(refused)).toBe(false);
});

it("what the words leave out is noted in the market's English", () => {
  expect(needsNote({ code: "invalid_arguments", field: "min_ytm" })).toBe(true);
  expect(needsNote({ code: "a_code_of_tomorrow" })).toBe(true);
  expect(needsNote({ code: "unavailable" })).toBe(false);
});

it("a field within others is named from the outside in, bounds and limits by what they bound", () => {
  const told = refusedOf(new ApiError("invalid_arguments", "why", { errors: [{ field: "min_ytm", message: "why" }] }));
  expect(refusalWords(told)).toContain("字段：年化收益率。");
  expect(refusalWords({ code: "invalid_arguments", field: "events.2.loan_id" })).toContain("字段：events › 3 › 标的。");
});
