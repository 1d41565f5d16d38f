/** Something that takes time: it is idle, pending, done or failed, and the page shows which. */

import { ApiError } from "./api";

export type Phase = "idle" | "pending" | "done" | "failed";

export class Action<A extends unknown[], T> {
  phase = $state<Phase>("idle");
  result = $state.raw<T | null>(null);
  error = $state.raw<ApiError | null>(null);
  #run: (...args: A) => Promise<T>;
  #latest = 0;

  constructor(run: (...args: A) => Promise<T>) {
    this.#run = run;
  }

  get isPending(): boolean {
    return this.phase === "pending";
  }

  /** Return the result, or null if it failed or a later run overtook it. What is no refusal is thrown on. */
  async run(...args: A): Promise<T | null> {
    this.#latest += 1;
    const mine = this.#latest;
    this.phase = "pending";
    this.error = null;
    try {
      const result = await this.#run(...args);
      if (mine !== this.#latest) return null;
      this.result = result;
      this.phase = "done";
      return result;
    } catch (error) {
      if (mine !== this.#latest) return null;
      this.phase = "failed";
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
      return null;
    }
  }

  reset(): void {
    this.#latest += 1;
    this.phase = "idle";
    this.error = null;
    this.result = null;
  }
}
