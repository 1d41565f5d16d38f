/** The API's answers, as far as the page reads them. Amounts, prices, rates are decimal strings (see money.ts). */

export type Side = "buy" | "sell";

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
  total?: number;
}

export interface Fee {
  rate: string;
  min: string;
  cap: string | null;
}

export interface Rulebook {
  name: string;
  tick: string;
  lot: string;
  min_face: string;
  premium_allowed: boolean;
  max_discount_pct: string | null;
  price_min: string;
  price_max: string;
  yield_floor: string | null;
  grace_days: number;
  min_holding_days: number;
  blackout_days: number;
  max_transfers: number | null;
  order_life_hours: number | null;
  tradable_statuses: string[];
  fees: { buyer: Fee; seller: Fee };
  limits: { per_loan: string | null; per_borrower: string | null; per_grade_pct: string | null } | null;
  transferable: boolean;
  suitability: Record<string, string> | null;
}

/** What changes from moment to moment; all of it comes in one message, so a row never mixes two moments. */
export interface Live {
  bid: string | null;
  bid_qty: string | null;
  ask: string | null;
  ask_qty: string | null;
  ytm_bid: string | null;
  ytm_ask: string | null;
  last: string | null;
  ytm_last: string | null;
}

export interface Loan extends Live {
  loan_id: string;
  symbol: string;
  originator: string;
  currency: string;
  original_principal: string;
  outstanding_principal: string;
  issued_face: string;
  factor: string;
  annual_rate: string;
  repayment_method: string;
  term_months: number;
  issue_date: string;
  first_due_date: string;
  maturity_date: string;
  remaining_months: number;
  day_count: string;
  grade: string;
  claim_type: string;
  guarantee: { kind: string; name: string | null; trigger_days: number | null; coverage: string };
  borrower_ref: string;
  purpose: string;
  region: string;
  documents: { name: string; sha256: string }[];
  transferable: boolean;
  status: string;
  halted: boolean;
  halt_reason: string | null;
  next_due: { n: number; date: string; payment: string; interest: string; principal: string } | null;
  history: { never_late: boolean; instalments_paid: number; instalments: number };
  rulebook: Rulebook;
  accrued: string;
}

/** What the board shows of a loan, all of it from one message. */
export type BoardLoan = Pick<Loan, (typeof BOARD_FIELDS)[number] | "loan_id" | "symbol">;

export const BOARD_FIELDS = [
  "originator",
  "purpose",
  "currency",
  "grade",
  "claim_type",
  "guarantee",
  "status",
  "halted",
  "history",
  "annual_rate",
  "remaining_months",
  "next_due",
  "outstanding_principal",
  "region",
  "bid",
  "bid_qty",
  "ask",
  "ask_qty",
  "ytm_bid",
  "ytm_ask",
  "last",
  "ytm_last",
] as const satisfies readonly (keyof Loan)[];

/** Ids in an order that stands still: of one moment. */
export interface BoardOrder {
  items: string[];
  total: number;
  timestamp: string;
}

/** Each list has one item per point. loan_id: null for a point of several loans. */
export interface BoardMap {
  remaining_months: number[];
  ytm: string[];
  grade: string[];
  count: number[];
  never_late: number[];
  loan_id: (string | null)[];
  total: number;
  timestamp: string;
}

export type Facet = "status" | "currency" | "originator" | "grade" | "claim_type" | "guarantee" | "never_late";

/** How many loans there are of each word. */
export type BoardFacets = Record<Facet, Record<string, number>> & { total: number; timestamp: string };

export interface Ticker extends Live {
  symbol: string;
  volume: string;
  vwap: string | null;
  low: string | null;
  high: string | null;
  change: string | null;
  accrued: string;
  factor: string;
  timestamp: string;
}

export interface ScheduleRow {
  n: number;
  due_date: string;
  payment: string;
  interest: string;
  principal: string;
  balance: string;
  status: "paid" | "due" | "late" | "future";
  paid_date: string | null;
  received: string | null;
}

export interface Payment {
  event_id: string;
  type: string;
  value_date: string;
  amount: string;
  interest: string;
  principal: string;
  currency: string;
  outstanding_principal: string;
  loan_status: string;
}

export interface Level {
  price: string;
  qty: string;
}

export interface PublicTrade {
  symbol: string;
  side: Side;
  price: string;
  qty: string;
  trade_id: string;
  ytm: string | null;
  timestamp: string;
}

export interface Quote {
  price: string | null;
  qty: string;
  current_face: string;
  principal: string;
  accrued: string;
  dirty: string;
  fee: string;
  total: string;
  ytm: string | null;
  ytm_nominal: string | null;
  ytm_conservative: string | null;
  duration: string | null;
  weighted_life: string | null;
  total_cash: string;
  fills: Level[];
  unfilled_qty: string;
}

export interface Order {
  order_id: string;
  cl_ord_id: string | null;
  order_status: string;
  symbol: string;
  loan_id: string;
  currency: string;
  side: Side;
  order_type: string;
  time_in_force: string;
  order_qty: string;
  limit_price: string | null;
  limit_yield?: string | null;
  peg?: string | null;
  cum_qty: string;
  cum_cost: string | null;
  leaves_qty: string;
  avg_price: string | null;
  held: string;
  version: number;
  cancel_reason?: string | null;
  created_at: string;
  updated_at: string;
  expire_time: string | null;
  post_only: boolean;
  display_qty: string | null;
}

export interface Trade {
  trade_id: string;
  order_id: string;
  loan_id: string;
  side: Side;
  price: string;
  qty: string;
  principal: string;
  accrued: string;
  dirty: string;
  fee: string;
  currency: string;
  ytm: string | null;
  business_date: string;
  timestamp: string;
}

export interface Balances {
  cash: { currency: string; total: string; available: string; held: string }[];
  claims: { loan_id: string; total: string; available: string; held: string; current_face: string }[];
}

export interface Position {
  loan_id: string;
  symbol: string;
  currency: string;
  total: string;
  available: string;
  held: string;
  current_face: string;
  cost: string;
  cost_price: string | null;
  market_price: string | null;
  market_value: string | null;
  accrued: string;
  ytm: string | null;
  realised: string;
  unrealised: string | null;
}

/** The result of all claims that the account ever had in a currency. */
export interface Performance {
  currency: string;
  paid_in: string;
  paid_out: string;
  realised: string;
  interest: string;
  fees: string;
  result: string;
  xirr: string | null;
}

export interface CashflowTotal {
  due_date: string;
  interest: string;
  principal: string;
  amount: string;
  currency: string;
}

/** simulated: the money is.  sign_up: whether anybody may open an account. */
export interface Status {
  simulated?: boolean;
  sign_up?: boolean;
  time_zone?: string;
  system: string;
  mode: string;
  epoch: number;
  engine_seq: number;
  business_date: string;
  server_time: string;
}

export interface Candle {
  open: string;
  high: string;
  low: string;
  close: string;
  trades: number;
  volume: string;
  vwap: string | null;
  interval_begin: string;
}

/** A link of a loan's chain of title; parties are pseudonyms. */
export interface Assignment {
  n: number;
  kind: "issuance" | "trade";
  trade_id: string | null;
  assignor: string | null;
  assignee: string;
  face: string;
  effective_between_parties_at: string;
  hash: string;
}

export interface ApiKey {
  key: string;
  scopes: string[];
  ip_allow: string[];
  expires_at: string | null;
  created_at: string;
  reason: string | null;
}

export interface Audit {
  engine_seq: number;
  log_head: string;
  cash: { currency: string; accounts_total: string; custody_total: string; difference: string }[];
  titles: { links: number; root: string };
  loans: { checked: number; violations: { loan_id: string; positions: string; issued_face: string }[] };
  balance_coefficient: {
    originator: string;
    currency: string;
    lent: string;
    transferred: string;
    coefficient: string | null;
  }[];
}

export interface AccountInfo {
  account_id: string;
  kind: string;
  name: string;
  risk_class: string | null;
  frozen: boolean;
  blocked: boolean;
  open_orders: number;
}

/** A loan that is halted now. */
export interface Halt {
  loan_id: string;
  status: string;
  reason: string;
  since: string | null;
  by: string | null;
}
