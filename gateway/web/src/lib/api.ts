/** Every REST call of the page: one function each, the session's cookie sent by the browser, failures as ApiError. */

import type { Refused } from "./refusal";
import type { LoanStatistics, MarketStatistics } from "./statistics.svelte";
import type {
  AccountInfo,
  ApiKey,
  Assignment,
  Audit,
  Balances,
  BoardFacets,
  BoardLoan,
  BoardMap,
  BoardOrder,
  Candle,
  CashflowTotal,
  Halt,
  Loan,
  Order,
  Page,
  Payment,
  Position,
  Performance,
  PublicTrade,
  Quote,
  Rulebook,
  ScheduleRow,
  Side,
  Status,
  Trade,
} from "./types";
import { BOARD_FIELDS } from "./types";

/** A refusal of the API (a problem document), or `unreachable` if there was no answer at all. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    readonly detail: string,
    readonly more: Record<string, unknown> = {},
  ) {
    super(`${code}: ${detail}`);
  }

  /** Whether it may have been done all the same. */
  get isDoubtful(): boolean {
    return this.more.outcome === "unknown";
  }

  get field(): string | null {
    const [first] = (this.more.errors as { field: string }[] | undefined) ?? [];
    return first?.field ?? null;
  }
}

let csrf: string | null = null;
let signedOut: () => void = () => {};

/** What is called when the session turns out to have ended. */
export function onSignedOut(call: () => void): void {
  signedOut = call;
}

type Query = Record<string, string | number | boolean | null | undefined>;

function address(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

async function send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && csrf !== null) headers["X-CSRF-Token"] = csrf;
  let response: Response;
  try {
    const options: RequestInit = { method, headers, credentials: "same-origin" };
    if (body !== undefined) options.body = JSON.stringify(body);
    if (signal) options.signal = signal;
    response = await fetch(path, options);
  } catch (error) {
    if (signal?.aborted) throw error;
    // A request that went out may have been carried out, unless it only asked.
    throw new ApiError("unreachable", "", { outcome: method === "GET" ? "not_executed" : "unknown", retryable: true });
  }
  if (response.ok) return response;
  let problem: Record<string, unknown> = {};
  try {
    problem = (await response.json()) as Record<string, unknown>;
  } catch {
    // no problem document: a proxy's answer
  }
  const code = typeof problem.code === "string" ? problem.code : "unavailable";
  if (response.status === 401 && csrf !== null && path !== "/v1/session") {
    csrf = null;
    signedOut();
  }
  throw new ApiError(code, String(problem.detail ?? response.statusText), problem);
}

async function ask<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  return (await send("GET", address(path, query), undefined, signal)).json() as Promise<T>;
}

async function tell<T>(method: string, path: string, body: unknown = {}): Promise<T> {
  return (await send(method, path, body)).json() as Promise<T>;
}

/** Follow the cursors of a list to its end, or to `most` items. */
export async function all<T>(first: (cursor: string | null) => Promise<Page<T>>, most = 5_000): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<T> = await first(cursor);
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor !== null && items.length < most);
  return items;
}

const loanPath = (loanId: string): string => `/v1/loans/${encodeURIComponent(loanId)}`;

export const market = {
  status: () => ask<Status>("/v1/status"),
  loans: (query: Query, signal?: AbortSignal) => ask<Page<Loan>>("/v1/loans", query, signal),
  rows: (query: Query, signal?: AbortSignal) =>
    ask<Page<BoardLoan>>("/v1/loans", { ...query, fields: BOARD_FIELDS.join() }, signal),
  order: (query: Query, signal?: AbortSignal) => ask<BoardOrder>("/v1/loans/order", query, signal),
  map: (query: Query, signal?: AbortSignal) => ask<BoardMap>("/v1/loans/map", query, signal),
  facets: (query: Query, signal?: AbortSignal) => ask<BoardFacets>("/v1/loans/facets", query, signal),
  loan: (loanId: string) => ask<Loan>(loanPath(loanId)),
  schedule: (loanId: string) => ask<Page<ScheduleRow>>(`${loanPath(loanId)}/schedule`),
  payments: (loanId: string) => ask<Page<Payment>>(`${loanPath(loanId)}/payments`, { limit: 500 }),
  trades: (loanId: string, limit = 500) => ask<Page<PublicTrade>>(`${loanPath(loanId)}/trades`, { limit }),
  candles: (loanId: string, query: Query) => ask<Page<Candle>>(`${loanPath(loanId)}/candles`, query),
  assignments: (loanId: string) => ask<Page<Assignment>>(`${loanPath(loanId)}/assignments`, { sort: "-n", limit: 100 }),
  quote: (loanId: string, query: { side: Side; qty: string; price?: string; yield?: string }, signal?: AbortSignal) =>
    ask<Quote>(`${loanPath(loanId)}/quote`, query, signal),
  statistics: (by: string) => ask<MarketStatistics>("/v1/statistics", { by }),
  loanStatistics: (loanId: string) => ask<LoanStatistics>(`${loanPath(loanId)}/statistics`),
  audit: () => ask<Audit>("/v1/audit"),
  rulebooks: () => ask<Page<Rulebook>>("/v1/rulebooks"),
  limits: () => ask<Record<string, unknown>>("/v1/limits"),
};

export interface NewOrder {
  loan_id: string;
  side: Side;
  order_type: "limit" | "market" | "yield";
  limit_price?: string;
  limit_yield?: string;
  order_qty: string;
  time_in_force?: string;
  expire_time?: string;
  post_only?: boolean;
  min_qty?: string;
  display_qty?: string;
  peg?: "yield";
  cl_ord_id: string;
}

/** A client order id of the page. The same one again is the same order, so that a retry is harmless. */
export function newOrderId(): string {
  return `web-${crypto.randomUUID().replaceAll("-", "").slice(0, 26)}`;
}

export const account = {
  balances: () => ask<Balances>("/v1/balances"),
  positions: () => all<Position>((cursor) => ask("/v1/positions", { limit: 500, cursor })),
  performance: async () => (await ask<Page<Performance>>("/v1/performance")).items,
  cashflows: () => all<CashflowTotal>((cursor) => ask("/v1/cashflows", { group: "date", limit: 500, cursor })),
  openOrders: () => all<Order>((cursor) => ask("/v1/orders", { limit: 500, cursor })),
  openOrdersOf: async (loanId: string) => (await ask<Page<Order>>("/v1/orders", { loan_id: loanId, limit: 500 })).items,
  trades: (limit: number, cursor: string | null = null) => ask<Page<Trade>>("/v1/trades", { limit, cursor }),
  tradesOf: (loanId: string) => ask<Page<Trade>>("/v1/trades", { loan_id: loanId, limit: 100 }),
  place: (order: NewOrder) => tell<Order & { duplicate: boolean }>("POST", "/v1/orders", order),
  placeBatch: (orders: NewOrder[]) =>
    tell<{ orders: ((Order & { error?: undefined }) | { error: string; error_detail: Refused })[] }>(
      "POST",
      "/v1/orders/batch",
      { orders },
    ),
  amend: (orderId: string, change: { order_qty?: string; limit_price?: string; if_version: number }) =>
    tell<Order>("PATCH", `/v1/orders/${orderId}`, change),
  cancel: async (orderId: string) => (await send("DELETE", `/v1/orders/${orderId}`)).json() as Promise<Order>,
  cancelAll: () => tell<{ count: number }>("POST", "/v1/orders/cancel-all"),
  /** The whole statement as a file's text, page by page. */
  statement: async (format: "json" | "csv"): Promise<string> => {
    if (format === "json") {
      const rows = await all((cursor) => ask<Page<unknown>>("/v1/statement", { limit: 500, cursor }), Infinity);
      return JSON.stringify(rows, null, 1);
    }
    let text = "";
    let cursor: string | null = null;
    do {
      const response: Response = await send("GET", address("/v1/statement", { format: "csv", limit: 500, cursor }));
      const page = await response.text();
      text += text === "" ? page : page.slice(page.indexOf("\r\n") + 2); // one head is enough
      cursor = /cursor=([^&>]+)/.exec(response.headers.get("Link") ?? "")?.[1] ?? null;
    } while (cursor !== null);
    return text;
  },
  keys: () => ask<Page<ApiKey>>("/v1/api-keys"),
  newKey: (wanted: { scopes: string[]; reason?: string; ip_allow?: string[]; expires_at?: string }) =>
    tell<ApiKey & { secret: string }>("POST", "/v1/api-keys", wanted),
  revokeKey: async (key: string) => (await send("DELETE", `/v1/api-keys/${encodeURIComponent(key)}`)).json(),
};

interface CashMovement {
  account_id: string;
  currency: string;
  amount: string;
  custody_ref: string;
  reason: string;
}

export const operator = {
  accounts: () => all<AccountInfo>((cursor) => ask("/v1/admin/accounts", { limit: 500, cursor })),
  halts: () => all<Halt>((cursor) => ask("/v1/admin/halts", { limit: 500, cursor })),
  halt: (loanId: string, reason: string) => tell("POST", `/v1/admin/loans/${encodeURIComponent(loanId)}/halt`, { reason }),
  resume: (loanId: string, reason: string) =>
    tell("POST", `/v1/admin/loans/${encodeURIComponent(loanId)}/resume`, { reason }),
  mode: (mode: string, reason: string) => tell("POST", "/v1/admin/mode", { mode, reason }),
  rollDay: (to: string, reason: string) => tell<{ business_date: string }>("POST", "/v1/admin/day-roll", { to, reason }),
  service: (events: unknown[]) =>
    tell<{ items: { event_id: string; loan_id: string; type: string; duplicate: boolean }[] }>(
      "POST",
      "/v1/admin/servicing",
      events,
    ),
  registerLoan: (loan: unknown) => tell<{ loan_id: string }>("POST", "/v1/admin/loans", loan),
  freeze: (accountId: string, frozen: boolean, reason: string) =>
    tell("POST", `/v1/admin/accounts/${encodeURIComponent(accountId)}/${frozen ? "freeze" : "unfreeze"}`, { reason }),
  deposit: (body: CashMovement) => tell("POST", "/v1/admin/deposits", body),
  withdraw: (body: CashMovement) => tell("POST", "/v1/admin/withdrawals", body),
  openAccount: (body: unknown) => tell("POST", "/v1/admin/accounts", body),
  newUser: (body: unknown) => tell<{ login: string; account_id: string }>("POST", "/v1/admin/users", body),
  issue: (loanId: string, face: string, reason: string) =>
    tell("POST", `/v1/admin/loans/${encodeURIComponent(loanId)}/issue`, { face, reason }),
  assignRulebook: (loanId: string, rulebook: string, reason: string) =>
    tell("PUT", `/v1/admin/loans/${encodeURIComponent(loanId)}/rulebook`, { rulebook, reason }),
  setDefaultRulebook: (accountId: string, rulebook: string | null, move_loans: boolean, reason: string) =>
    tell("PUT", `/v1/admin/accounts/${encodeURIComponent(accountId)}/rulebook`, { rulebook, move_loans, reason }),
  defineRulebook: (name: string, body: unknown) => tell("PUT", `/v1/admin/rulebooks/${encodeURIComponent(name)}`, body),
};

/** Somewhere where one is signed in. */
export interface ListedSession {
  session_id: string;
  current: boolean;
  created_at: string;
  expires_at: string;
  address: string | null;
  user_agent: string | null;
}

export interface SessionInfo {
  login: string | null;
  account_id: string;
  kind: string;
  name: string;
  scopes: string[];
  csrf_token: string;
}

function remember(info: SessionInfo): SessionInfo {
  csrf = info.csrf_token;
  return info;
}

export const session = {
  current: async () => remember(await ask<SessionInfo>("/v1/session")),
  signIn: async (login: string, password: string) =>
    remember(await tell<SessionInfo>("POST", "/v1/session", { login, password })),
  signUp: async (login: string, password: string, name: string) =>
    remember(await tell<SessionInfo>("POST", "/v1/users", { login, password, ...(name && { name }) })),
  list: () => ask<Page<ListedSession>>("/v1/sessions"),
  end: async (sessionId: string) => (await send("DELETE", `/v1/sessions/${encodeURIComponent(sessionId)}`)).json(),
  endOthers: async () => (await send("DELETE", "/v1/sessions")).json() as Promise<{ ended: number }>,
  changePassword: (password: string, new_password: string) =>
    tell<{ ended: number }>("PUT", "/v1/password", { password, new_password }),
  signOut: async () => {
    await send("DELETE", "/v1/session");
    csrf = null;
  },
};
