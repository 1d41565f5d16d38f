/** One loan as it is now: its terms, figures, book and trades. The book's steps are checked to join without a gap. */

import { ApiError, market } from "./api";
import { socket, stepped, type Kind, type Row } from "./socket.svelte";
import type { Level, Loan, PublicTrade, Ticker } from "./types";

const DEPTH = 10;
const TRADES_MAX = 500;

interface Book {
  epoch: number;
  seq: number;
  bids: Level[];
  asks: Level[];
}

export class LoanModel {
  loan = $state.raw<Loan | null>(null);
  ticker = $state.raw<Ticker | null>(null);
  book = $state.raw<Book | null>(null);
  /** Newest first. */
  trades = $state.raw<PublicTrade[]>([]);
  error = $state.raw<ApiError | null>(null);
  times = $state(0);
  #stops: (() => void)[] = [];

  constructor(readonly loanId: string) {}

  async load(): Promise<void> {
    try {
      const [loan, trades] = await Promise.all([market.loan(this.loanId), market.trades(this.loanId)]);
      this.loan = loan;
      this.trades = trades.items;
      this.error = null;
      if (this.#stops.length === 0) this.#follow(loan.symbol);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
    }
  }

  leave(): void {
    for (const stop of this.#stops) stop();
    this.#stops = [];
  }

  #follow(symbol: string): void {
    this.#stops = [
      socket.subscribe("ticker", symbol, (row) => {
        this.ticker = row as unknown as Ticker;
        this.times += 1;
      }),
      socket.subscribe("book", symbol, (row, kind) => this.#step(symbol, row, kind), DEPTH),
      socket.subscribe("trade", symbol, (row) => this.#traded(row as unknown as PublicTrade)),
      socket.subscribe("instrument", symbol, (row) => {
        if (this.loan) this.loan = { ...this.loan, ...(row as unknown as Partial<Loan>) };
      }),
    ];
  }

  #step(symbol: string, row: Row, kind: Kind): void {
    const told = row as unknown as Book & { prev_seq?: number };
    const { epoch, seq, bids, asks } = told;
    if (kind === "snapshot") {
      this.book = { epoch, seq, bids, asks };
    } else if (this.book && this.book.epoch === epoch && this.book.seq === told.prev_seq) {
      this.book = {
        epoch,
        seq,
        bids: stepped(this.book.bids, bids, "bids", DEPTH),
        asks: stepped(this.book.asks, asks, "asks", DEPTH),
      };
    } else {
      this.book = null; // a gap: better nothing than something wrong, until the snapshot comes
      socket.resync("book", symbol);
    }
  }

  #traded(trade: PublicTrade): void {
    if (this.trades.some(({ trade_id }) => trade_id === trade.trade_id)) return;
    const isNewer = this.trades[0] === undefined || trade.timestamp >= this.trades[0].timestamp;
    this.trades = (isNewer ? [trade, ...this.trades] : [...this.trades, trade]).slice(0, TRADES_MAX);
  }
}
