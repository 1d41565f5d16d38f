/** What concerns all loans of a filter at once: how they spread over yields and months, and over words. */

import { ApiError, market } from "./api";
import { queryOf, type Filters } from "./board.svelte";
import type { BoardFacets, BoardMap } from "./types";

const POINTS = 3_000;
const FRESH_MS = 10_000; // the same filter is not asked about more often

export class Overview {
  map = $state.raw<BoardMap | null>(null);
  facets = $state.raw<BoardFacets | null>(null);
  #abort = new AbortController();
  #asked = { wish: "", at: 0 };

  /** Ask about these filters. withMap: whether anybody looks at the map. */
  async load(filters: Filters, withMap: boolean): Promise<void> {
    const found = queryOf(filters);
    if (found === null) {
      this.map = null;
      return;
    }
    const query = { ...found, sort: "" };
    const wish = JSON.stringify([query, withMap]);
    if (wish === this.#asked.wish && performance.now() - this.#asked.at < FRESH_MS) return;
    this.#asked = { wish, at: performance.now() };
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const wanted = [market.facets(query, signal), withMap ? market.map({ ...query, points: POINTS }, signal) : this.map] as const;
      [this.facets, this.map] = await Promise.all(wanted);
    } catch (error) {
      if (!signal.aborted && !(error instanceof ApiError)) throw error; // the list says what failed
    }
  }

  leave(): void {
    this.#abort.abort();
  }
}
