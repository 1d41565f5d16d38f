/** An order in the making. Price, discount and yield are three ways to say one thing: naming one gives the others.
 *
 * Prices and discounts are turned into each other here, exactly; yields by the API, which also says what it costs.
 */

import { Action } from "./action.svelte";
import { ApiError, account, market, newOrderId, type NewOrder } from "./api";
import type { Draft } from "./draft";
import { socket } from "./socket.svelte";
import { decimal, discountOf, floorTo, fractionOf, percentOf, plain, units } from "./money";
import { statusInfo } from "./status.svelte";
import type { Loan, Order, Quote, Side, Trade } from "./types";
import { endOfDay } from "./zone";

export type Kind = "market" | "limit" | "yield";
export type By = "price" | "discount" | "yield";
export type Amount = "face" | "cash";

export const LASTING = ["gtc", "day", "gtd", "ioc", "fok"] as const;
export type Lasting = (typeof LASTING)[number];

const ASK_AFTER_MS = 140;
const FOLLOW_MS = 250; // a price that follows the book is asked for so often at most
const FIND_OUT_MS = 1_000; // while there is no answer about a doubtful order, it is asked for so often
const TRIES = 5;

export interface Placed {
  order: Order & { duplicate: boolean };
  fills: Trade[];
}

export class Ticket {
  side = $state<Side>("buy");
  kind = $state<Kind>("limit");
  price = $state("");
  discount = $state("");
  yield = $state("");
  by = $state<By>("price");
  amount = $state<Amount>("face");
  face = $state("");
  cash = $state("");
  lasting = $state<Lasting>("gtc");
  until = $state("");
  postOnly = $state(false);
  minQty = $state("");
  displayQty = $state("");
  pegged = $state(false);
  step = $state<"edit" | "confirm" | "result">("edit");

  quote = $state.raw<Quote | null>(null);
  quoteError = $state.raw<ApiError | null>(null);
  isAsking = $state(false);
  placing = new Action((order: NewOrder) => this.#place(order));
  /** Of an order whose answer was lost: that its outcome is asked for, or that it was never placed. */
  doubt = $state<"asking" | "never" | null>(null);

  #timer: ReturnType<typeof setTimeout> | undefined;
  #following: ReturnType<typeof setTimeout> | undefined;
  #isBehind = false;
  #abort = new AbortController();
  #id = newOrderId();

  constructor(readonly loan: () => Loan) {}

  /** What is filled in, for the ticket to be taken up again. */
  get draft(): Draft {
    const { side, kind, by, amount, lasting, until, postOnly, minQty, displayQty, pegged } = this;
    const [value, size] = [this[by], this[amount]];
    return { side, kind, by, value, amount, size, lasting, until, postOnly, minQty, displayQty, pegged, id: this.#id };
  }

  takeUp({ value, size, id, ...rest }: Draft): void {
    Object.assign(this, rest);
    this[this.amount] = size;
    this.#id = id;
    const typed = { price: this.typedPrice, discount: this.typedDiscount, yield: this.typedYield }[this.by];
    typed.call(this, value);
  }

  /** Buy or sell. Cash to spend is a buyer's word: a seller names the face. */
  turn(side: Side): void {
    this.side = side;
    if (side === "sell") this.amount = "face";
  }

  /** Take a price from the book. */
  setPrice(price: string): void {
    this.by = "price";
    this.price = price;
    this.discount = discountOf(price) ?? "";
    this.ask();
  }

  typedPrice(text: string): void {
    this.by = "price";
    this.price = plain(text);
    this.discount = discountOf(this.price) ?? "";
    this.yield = "";
    this.ask();
  }

  typedDiscount(text: string): void {
    this.by = "discount";
    this.discount = plain(text);
    this.price = discountOf(this.discount) ?? "";
    this.yield = "";
    this.ask();
  }

  typedYield(text: string): void {
    this.by = "yield";
    this.yield = plain(text);
    this.price = "";
    this.discount = "";
    this.ask();
  }

  /** How much: face, or cash to spend, as `amount` says. */
  typedAmount(text: string): void {
    this[this.amount] = plain(text);
    this.ask();
  }

  /** Ask what it would cost, once the typing pauses. */
  ask(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.isAsking = true;
    this.#timer = setTimeout(() => void this.#ask(), ASK_AFTER_MS);
  }

  /** The book moved. One question at a time, and none that stops another, so that a busy book starves none of them. */
  follow(): void {
    this.#isBehind = true;
    if (this.#following || this.isAsking) return;
    this.#following = setTimeout(() => void this.#catchUp(), FOLLOW_MS);
  }

  async #catchUp(): Promise<void> {
    if (this.step === "edit" && !this.isAsking) {
      this.#isBehind = false;
      await this.#ask();
    }
    this.#following = undefined;
    if (this.#isBehind && this.step === "edit") this.follow();
  }

  /** Look back at what was filled in: from here on it stays as it is shown. */
  review(): void {
    this.#stop();
    this.step = "confirm";
  }

  leave(): void {
    this.#stop();
    this.doubt = null;
  }

  #stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#following);
    this.#following = undefined;
    this.#isBehind = false;
    this.#abort.abort();
  }

  async #ask(): Promise<void> {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const quote = this.amount === "face" ? await this.#ofFace(signal) : await this.#ofCash(signal);
      if (signal.aborted) return;
      this.quote = quote;
      this.quoteError = null;
      if (quote && this.kind !== "market") this.#link(quote);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.quote = null;
      this.quoteError = error;
    } finally {
      if (!signal.aborted) {
        this.isAsking = false;
        if (this.#isBehind) this.follow();
      }
    }
  }

  #link(quote: Quote): void {
    if (this.by === "yield") {
      this.price = quote.price ?? "";
      this.discount = discountOf(this.price) ?? "";
    } else {
      this.yield = quote.ytm === null ? "" : (percentOf(quote.ytm) ?? "").replace(/\.?0+$/, "");
    }
  }

  async #ofFace(signal: AbortSignal): Promise<Quote | null> {
    const face = units(this.face);
    // Without a quantity the link between price and yield is still asked for, at the least that trades.
    const quantity = face !== null && face > 0n ? this.face : this.loan().rulebook.min_face;
    const quote = await this.#asked(quantity, signal);
    return face !== null && face > 0n ? quote : (quote && this.#link(quote), null);
  }

  /** Find the largest face whose total is within the cash: each try scales by what the one before cost. */
  async #ofCash(signal: AbortSignal): Promise<Quote | null> {
    const cash = units(this.cash);
    const { lot, min_face } = this.loan().rulebook;
    const [step, least] = [units(lot) ?? 1n, units(min_face) ?? 1n];
    if (cash === null || cash <= 0n) return this.#ofFaceless(signal);
    let face = floorTo(cash > least ? cash : least, step);
    for (let tries = 0; tries < TRIES; tries += 1) {
      const quote = await this.#asked(decimal(face), signal);
      const total = units(quote?.total) ?? 0n;
      if (!quote || total === 0n) return quote;
      const filled = face - (units(quote.unfilled_qty) ?? 0n);
      if (total <= cash && tries > 0) {
        this.face = quote.qty;
        return quote;
      }
      const scaled = floorTo((filled * cash) / total, step);
      const next = tries > 1 && scaled >= face ? face - step : scaled;
      if (next < least) {
        this.face = "";
        throw new ApiError("below_minimum", "", { rule: "min_face", bound: min_face });
      }
      face = next;
    }
    return null;
  }

  async #ofFaceless(signal: AbortSignal): Promise<null> {
    const quote = await this.#asked(this.loan().rulebook.min_face, signal);
    if (quote && this.kind !== "market") this.#link(quote);
    return null;
  }

  async #asked(quantity: string, signal: AbortSignal): Promise<Quote | null> {
    const asked: { side: Side; qty: string; price?: string; yield?: string } = { side: this.side, qty: quantity };
    if (this.kind !== "market") {
      if (this.by === "yield") {
        const fraction = fractionOf(this.yield);
        if (fraction === null) return null;
        asked.yield = fraction;
      } else {
        if (units(this.price) === null) return null;
        asked.price = this.price;
      }
    }
    return market.quote(this.loan().loan_id, asked, signal);
  }

  /** What is sent, or null while something is missing. */
  get order(): NewOrder | null {
    const face = units(this.face);
    if (face === null || face <= 0n || !this.quote) return null;
    const order: NewOrder = {
      loan_id: this.loan().loan_id,
      side: this.side,
      order_type: this.kind,
      order_qty: this.face,
      cl_ord_id: this.#id,
    };
    if (this.amissParts !== null) return null;
    if (this.mayNeed && this.minQty) order.min_qty = this.minQty;
    if (this.kind === "market") return order;
    order.time_in_force = this.lasting;
    if (this.kind === "limit") order.limit_price = this.price;
    else {
      const fraction = fractionOf(this.yield);
      if (fraction === null) return null;
      order.limit_yield = fraction;
      if (this.pegged && this.mayRest) order.peg = "yield";
    }
    if (this.lasting === "gtd") {
      if (this.endsAt === null || this.isPast) return null;
      order.expire_time = this.endsAt;
    }
    if (this.postOnly && this.mayRest) order.post_only = true;
    if (this.displayQty && this.mayRest) order.display_qty = this.displayQty;
    return order;
  }

  /** When the chosen day is over, in the market's time zone; null while no day is chosen or the zone is not known. */
  get endsAt(): string | null {
    return this.until && statusInfo.zone ? endOfDay(this.until, statusInfo.zone) : null;
  }

  /** Whether the chosen day is over. */
  get isPast(): boolean {
    return this.until !== "" && statusInfo.today !== null && this.until < statusInfo.today;
  }

  /** Whether a least quantity to trade at once has a meaning: not for what only rests, and not for all or nothing. */
  get mayNeed(): boolean {
    return this.lasting !== "fok" && !(this.postOnly && this.mayRest) || this.kind === "market";
  }

  /** Which of the two parts can't be so: whole lots, not above the order, and no tip smaller than what may be ordered. */
  get amissParts(): "minQty" | "displayQty" | null {
    const { lot, min_face } = this.loan().rulebook;
    const isPart = (text: string, least: string): boolean => {
      const [part, step, face] = [units(text), units(lot) ?? 1n, units(this.face) ?? 0n];
      return part !== null && part >= (units(least) ?? 1n) && part % step === 0n && part <= face;
    };
    if (this.mayNeed && this.minQty && !isPart(this.minQty, lot)) return "minQty";
    return this.mayRest && this.displayQty && !isPart(this.displayQty, min_face) ? "displayQty" : null;
  }

  get mayRest(): boolean {
    return this.kind !== "market" && this.lasting !== "ioc" && this.lasting !== "fok";
  }

  /** Send it. A retry after a doubtful answer bears the same id, so it can't be placed twice. */
  async place(): Promise<void> {
    const { order } = this;
    if (!order || this.placing.isPending) return;
    this.doubt = null;
    if (await this.placing.run(order)) {
      this.#id = newOrderId();
      this.step = "result";
    } else if (this.placing.error?.isDoubtful) {
      this.doubt = "asking";
      void this.#findOut();
    }
  }

  /** Ask what became of the order until that is known. It is either found, or can't be placed any more by a late copy. */
  async #findOut(): Promise<void> {
    while (this.doubt === "asking") {
      const answer = await socket.request("resolve_order", { cl_ord_id: this.#id });
      if (this.doubt !== "asking") return;
      if (answer?.result?.exists) return this.place(); // the same order again is answered with what became of it
      if (answer?.result) {
        this.#id = newOrderId();
        this.doubt = "never";
      } else if (answer?.refusal && !answer.refusal.retryable) {
        this.doubt = null;
      } else await new Promise((wake) => setTimeout(wake, FIND_OUT_MS));
    }
  }

  async #place(order: NewOrder): Promise<Placed> {
    const placed = await account.place(order);
    if ((units(placed.cum_qty) ?? 0n) === 0n) return { order: placed, fills: [] };
    const trades = await account.tradesOf(order.loan_id).catch(() => ({ items: [] as Trade[] }));
    return { order: placed, fills: trades.items.filter(({ order_id }) => order_id === placed.order_id) };
  }

  again(): void {
    this.placing.reset();
    this.doubt = null;
    this.step = "edit";
    this.ask();
  }
}
