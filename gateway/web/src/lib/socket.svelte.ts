/** The live connection: one socket for the page, subscriptions shared, everything subscribed anew after a loss.
 *
 * The server beats once a second; when nothing was heard for `STALE_MS`, what is shown is stale and said to be so, and
 * after `LOST_MS` the socket is given up. Reconnecting waits longer each time, with chance in it, so that a restarted
 * service is not met by everybody at once.
 */

import type { Level } from "./types";

export type Row = Record<string, unknown> & { symbol?: string };
export type Kind = "snapshot" | "update";
export type Listener = (row: Row, kind: Kind) => void;
export type Connection = "connecting" | "online" | "stale" | "offline";

const STALE_MS = 3_500;
const LOST_MS = 8_000;
const BACKOFF_MS = [250, 500, 1_000, 2_000, 4_000, 8_000];
const GATHER_MS = 30; // wishes of so long go out together

interface Message {
  channel?: string;
  type?: Kind;
  board?: string;
  data?: Row[];
  req_id?: number;
  success?: boolean;
  result?: { board?: string };
  error_detail?: { code: string; retryable: boolean };
}

/** What was answered to a request: a result, or why there is none; null if no answer came. */
export type Answer = { result?: Record<string, unknown>; refusal?: { code: string; retryable: boolean } } | null;

interface Wish {
  channel: string;
  symbol: string | null;
  depth: number | null;
  listeners: Set<Listener>;
}

/** Rows of a board as they are told: whole messages, so that what changed together is shown together. */
export type BoardListener = (rows: Row[], kind: Kind) => void;

interface BoardWish {
  params: Record<string, unknown>;
  listener: BoardListener;
  id: string | null;
}

const nameOf = (channel: string, symbol: string | null): string => `${channel} ${symbol ?? ""}`;

class Socket {
  state = $state<Connection>("connecting");
  /** How often we came (back) online: whoever shows what is not pushed reads it again when this changes. */
  generation = $state(0);
  lastHeard = $state<Date | null>(null);
  status = $state.raw<Row | null>(null);

  #socket: WebSocket | null = null;
  #wishes = new Map<string, Wish>();
  #wanted = new Set<Wish>();
  #unwanted = new Set<Wish>();
  #boards = new Set<BoardWish>();
  #asked = new Map<number, BoardWish>();
  #replies = new Map<number, (answer: Answer) => void>();
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #heardAt = 0;
  #request = 0;
  #started = false;

  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#connect();
    setInterval(() => this.#look(), 500);
    addEventListener("online", () => this.#reconnectNow());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.state === "offline") this.#reconnectNow();
    });
  }

  get isFresh(): boolean {
    return this.state === "online";
  }

  /** Listen to a stream; returns what ends it. `symbol` null: a stream that has none. */
  subscribe(channel: string, symbol: string | null, listener: Listener, depth: number | null = null): () => void {
    const name = nameOf(channel, symbol);
    let wish = this.#wishes.get(name);
    if (!wish) {
      wish = { channel, symbol, depth, listeners: new Set() };
      this.#wishes.set(name, wish);
      if (this.#unwanted.has(wish)) this.#unwanted.delete(wish);
      this.#wanted.add(wish);
      this.#gather();
    } else if (wish.listeners.size > 0) {
      this.#ask("resync", [wish]); // the newcomer needs a snapshot too
    }
    wish.listeners.add(listener);
    const held = wish;
    return () => {
      held.listeners.delete(listener);
      if (held.listeners.size > 0 || this.#wishes.get(name) !== held) return;
      this.#wishes.delete(name);
      if (!this.#wanted.delete(held)) {
        this.#unwanted.add(held);
        this.#gather();
      }
    };
  }

  /** Ask once; null if there is no connection, or it ends before the answer. */
  request(method: string, params: Record<string, unknown>): Promise<Answer> {
    if (this.#socket?.readyState !== WebSocket.OPEN) return Promise.resolve(null);
    this.#send(method, params);
    return new Promise((reply) => this.#replies.set(this.#request, reply));
  }

  /** Look at a board by the words of `GET /v1/loans` and `limit`, `fields`; returns what ends it. */
  board(params: Record<string, unknown>, listener: BoardListener): () => void {
    const wish: BoardWish = { params: { channel: "board", ...params }, listener, id: null };
    this.#boards.add(wish);
    this.#askForBoard(wish);
    return () => {
      if (this.#boards.delete(wish)) this.#send("unsubscribe", wish.params);
    };
  }

  /** Ask for a fresh snapshot of a stream that turned out to have a gap. */
  resync(channel: string, symbol: string): void {
    const wish = this.#wishes.get(nameOf(channel, symbol));
    if (wish) this.#ask("resync", [wish]);
  }

  /** Begin anew, with the session that the browser now has. */
  restart(): void {
    this.#socket?.close();
  }

  #connect(): void {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/v2`);
    this.#socket = socket;
    this.#heardAt = Date.now();
    socket.onopen = () => {
      if (this.#socket !== socket) return socket.close();
      this.#send("subscribe", { channel: "status" });
      this.#send("subscribe", { channel: "heartbeat" });
      this.#wanted = new Set(this.#wishes.values());
      this.#unwanted.clear();
      this.#flush();
      this.#asked.clear();
      for (const wish of this.#boards) this.#askForBoard(wish);
    };
    socket.onmessage = (event) => this.#socket === socket && this.#hear(String(event.data));
    socket.onclose = () => this.#lost(socket);
  }

  #lost(socket: WebSocket): void {
    if (this.#socket !== socket) return;
    for (const reply of this.#replies.values()) reply(null);
    this.#replies.clear();
    this.#socket = null;
    this.state = this.generation === 0 ? "connecting" : "offline";
    const most = BACKOFF_MS[Math.min(this.#failures, BACKOFF_MS.length - 1)] ?? 8_000;
    this.#failures += 1;
    setTimeout(() => !this.#socket && this.#connect(), most * (0.5 + Math.random() / 2));
  }

  #reconnectNow(): void {
    if (!this.#socket) this.#connect();
  }

  #look(): void {
    const socket = this.#socket;
    if (!socket) return;
    const silence = Date.now() - this.#heardAt;
    if (silence > LOST_MS) {
      socket.close();
      this.#lost(socket); // not when its end is confirmed: nobody may be there to do that
    } else if (silence > STALE_MS && this.state === "online") this.state = "stale";
  }

  #hear(text: string): void {
    this.#heardAt = Date.now();
    const message = JSON.parse(text) as Message;
    if (this.state !== "online") {
      const isBack = this.state !== "stale";
      this.state = "online";
      this.#failures = 0;
      if (isBack) this.generation += 1;
    }
    if (message.channel === "heartbeat") {
      this.lastHeard = new Date(this.#heardAt);
      return;
    }
    if (!message.channel || !message.data) {
      this.#acknowledged(message);
      return;
    }
    if (message.channel === "board") {
      for (const wish of this.#boards) if (wish.id === message.board) wish.listener(message.data, message.type ?? "update");
      return;
    }
    if (message.channel === "status") {
      this.status = { ...this.status, ...message.data[0] };
      return;
    }
    const whole = this.#wishes.get(nameOf(message.channel, null));
    for (const row of message.data) {
      const kind = message.type ?? "update";
      for (const listener of whole?.listeners ?? []) listener(row, kind);
      if (row.symbol === undefined) continue;
      for (const listener of this.#wishes.get(nameOf(message.channel, row.symbol))?.listeners ?? []) listener(row, kind);
    }
  }

  #askForBoard(wish: BoardWish): void {
    wish.id = null; // what comes before the acknowledgement belongs to another board
    this.#send("subscribe", wish.params);
    this.#asked.set(this.#request, wish);
  }

  #acknowledged(message: Message): void {
    const { result, error_detail: refusal } = message;
    this.#replies.get(message.req_id ?? 0)?.({ ...(result && { result }), ...(refusal && { refusal }) });
    this.#replies.delete(message.req_id ?? 0);
    const wish = this.#asked.get(message.req_id ?? 0);
    this.#asked.delete(message.req_id ?? 0);
    if (wish && message.result?.board) wish.id = message.result.board;
  }

  #gather(): void {
    this.#gathering ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  #flush(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    if (this.#socket?.readyState !== WebSocket.OPEN) return; // all wishes are told when it opens
    this.#ask("unsubscribe", this.#unwanted);
    this.#ask("subscribe", this.#wanted);
    this.#unwanted.clear();
    this.#wanted.clear();
  }

  #ask(method: string, wishes: Iterable<Wish>): void {
    const groups = new Map<string, Wish[]>();
    for (const wish of wishes) {
      const group = `${wish.channel} ${wish.depth ?? ""} ${wish.symbol === null}`;
      groups.set(group, [...(groups.get(group) ?? []), wish]);
    }
    for (const group of groups.values()) {
      const [{ channel, depth, symbol }] = group as [Wish];
      const params: Record<string, unknown> = { channel };
      if (depth !== null) params.depth = depth;
      if (symbol !== null) params.symbol = group.map((wish) => wish.symbol);
      if (channel === "trade" && method === "subscribe") params.snapshot = true;
      this.#send(method, params);
    }
  }

  #send(method: string, params: Record<string, unknown>): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#request += 1;
    this.#socket.send(JSON.stringify({ method, params, req_id: this.#request }));
  }
}

export const socket = new Socket();

/** One side's levels after a step: quantity 0 removes, what is pushed below `depth` is cut. */
export function stepped(levels: Level[], changes: Level[], side: "bids" | "asks", depth: number): Level[] {
  const byPrice = new Map(levels.map((level) => [level.price, level]));
  for (const change of changes) {
    if (/^0+(\.0+)?$/.test(change.qty)) byPrice.delete(change.price);
    else byPrice.set(change.price, change);
  }
  const sign = side === "bids" ? -1 : 1;
  return [...byPrice.values()].sort((a, b) => sign * compareDecimals(a.price, b.price)).slice(0, depth);
}

function compareDecimals(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0); // both positive with two places
}
