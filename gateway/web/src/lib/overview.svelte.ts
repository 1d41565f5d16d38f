/** What concerns all loans of a filter at once: how they spread over yields and months, and over words. */

import { ApiError, market } from "./api";
import { queryOf, type Filters } from "./board.svelte";
import type { BoardFacets, BoardMap } from "./types";

const POINTS = 3_000;
const FRESH_MS = 10_000; // the same filter is not asked about more often

export class Overview {
  map = $state.raw<BoardMap | null>(null);
  facets = $state.raw<BoardFacets | null>(null);
  error = $state.raw<ApiError | null>(null);
  #abort = new AbortController();
  #asked = { wish: "", at: 0 };
  #last: Parameters<Overview["load"]> | null = null;

  /** Ask about these filters. withMap: whether anybody looks at the map. */
  async load(filters: Filters, withMap: boolean): Promise<void> {
    this.#last = [filters, withMap];
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
    const [facets, map] = await Promise.allSettled([
      market.facets(query, signal),
      withMap ? market.map({ ...query, points: POINTS }, signal) : this.map,
    ]);
    if (signal.aborted) return;
    if (facets.status === "fulfilled") this.facets = facets.value;
    if (map.status === "fulfilled") this.map = map.value;
    const failed = [facets, map].find((each) => each.status === "rejected")?.reason as unknown;
    if (failed !== undefined && !(failed instanceof ApiError)) throw failed;
    this.error = failed ?? null;
  }

  async retry(): Promise<void> {
    this.#asked.wish = "";
    if (this.#last) await this.load(...this.#last);
  }

  leave(): void {
    this.#abort.abort();
  }
}
