/** Light or dark: the system's, until the reader chooses. */

import { remembered } from "./remembered";

const kept = remembered<"light" | "dark" | null>("theme", null);
const system = matchMedia("(prefers-color-scheme: dark)");

class Theme {
  #chosen = $state(kept.read());
  #systemIsDark = $state(system.matches);

  constructor() {
    system.addEventListener("change", () => {
      this.#systemIsDark = system.matches;
      this.#show();
    });
    this.#show();
  }

  get isDark(): boolean {
    return this.#chosen === null ? this.#systemIsDark : this.#chosen === "dark";
  }

  toggle(): void {
    this.#chosen = this.isDark ? "light" : "dark";
    kept.write(this.#chosen);
    this.#show();
  }

  #show(): void {
    document.documentElement.dataset.theme = this.isDark ? "dark" : "light";
  }
}

export const theme = new Theme();

/** A design token's present value, for what is drawn on a canvas. */
export function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
