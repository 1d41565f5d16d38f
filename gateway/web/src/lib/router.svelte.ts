/** Where in the app we are. The gateway answers each of these places with the page (gateway/page.py). */

export type Place =
  | { name: "market" }
  | { name: "loan"; loanId: string }
  | { name: "statistics" }
  | { name: "portfolio" }
  | { name: "account" }
  | { name: "operator" }
  | { name: "unknown" };

export function placeOf(path: string): Place {
  const [, first = "", second, rest] = path.split("/");
  if (first === "") return { name: "market" };
  if (first === "loans" && second && !rest) return loanOf(second);
  if (second) return { name: "unknown" };
  if (first === "statistics" || first === "portfolio" || first === "account" || first === "operator") return { name: first };
  return { name: "unknown" };
}

function loanOf(part: string): Place {
  try {
    return { name: "loan", loanId: decodeURIComponent(part) };
  } catch {
    return { name: "unknown" }; // no text that can be read
  }
}

class Router {
  path = $state(location.pathname);
  search = $state(location.search);
  place = $derived(placeOf(this.path));
  /** Whether the browser's Back or Forward led here. */
  isReturn = false;

  constructor() {
    addEventListener("popstate", () => {
      this.isReturn = true;
      this.#read();
    });
    addEventListener("click", (event) => this.#follow(event));
  }

  go(to: string, { replace = false } = {}): void {
    const before = location.pathname;
    this.isReturn = false;
    if (replace) history.replaceState(null, "", to);
    else history.pushState(null, "", to);
    this.#read();
    if (location.pathname !== before) scrollTo(0, 0);
  }

  #read(): void {
    this.path = location.pathname;
    this.search = location.search;
  }

  /** A plain click on a link to a place of the app stays in the page. */
  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const link = (event.target as Element | null)?.closest?.("a");
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (placeOf(link.pathname).name === "unknown") return;
    event.preventDefault();
    this.go(link.pathname + link.search + link.hash);
  }
}

export const router = new Router();
