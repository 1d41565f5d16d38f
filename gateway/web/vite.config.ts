import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";
import { en } from "./src/locales/en.ts";
import { operator as operatorEn } from "./src/locales/en/operator.ts";
import { zh } from "./src/locales/zh.ts";
import { operator as operatorZh } from "./src/locales/zh/operator.ts";

type Texts = Record<string, string>;

/** What is said, by the module that has the keys of it; each language's texts are a module of their own. */
const WORDS: Record<string, Record<string, Texts>> = {
  "virtual:words": { en, zh },
  "virtual:words-operator": { en: operatorEn, zh: operatorZh },
};
const keysOf = (languages: Record<string, Texts>): string[] => [...new Set(Object.values(languages).flatMap((texts) => Object.keys(texts)))];

/** A key that one language has and another lacks, or an empty text, fails the build. Keys are sent once, for both. */
function completeWords(): Plugin {
  const modules = new Map<string, string[]>();
  for (const [name, languages] of Object.entries(WORDS)) {
    const keys = keysOf(languages);
    modules.set(name, keys);
    for (const [language, texts] of Object.entries(languages)) modules.set(`${name}/${language}`, keys.map((key) => texts[key] ?? ""));
  }
  return {
    name: "complete-words",
    buildStart() {
      const lacking = Object.values(WORDS).flatMap((languages) =>
        keysOf(languages).filter((key) => Object.values(languages).some((texts) => !texts[key])),
      );
      if (lacking.length > 0) this.error(`not in both languages: ${lacking.join(", ")}`);
    },
    resolveId: (id) => (modules.has(id) ? `\0${id}` : null),
    load(id) {
      const list = modules.get(id.slice(1));
      return id.startsWith("\0") && list ? `export default ${JSON.stringify(list)};` : null;
    },
  };
}

/** The page is drawn in the browser alone: what would take over a page drawn by a server is left out. */
function neverHydrated(): Plugin {
  const IS_HYDRATING = "export let hydrating = false;";
  return {
    name: "never-hydrated",
    apply: "build",
    enforce: "post",
    transform(code, id) {
      if (id.endsWith("/svelte/src/internal/client/dom/hydration.js")) {
        if (!code.includes(IS_HYDRATING)) this.error(`${id} is not as it was: look what Svelte hydrates by now`);
        return { code: code.replace(IS_HYDRATING, "export const hydrating = false;").replace("hydrating = value;", ""), map: null };
      }
      if (!id.endsWith(".svelte")) return null;
      const steps = /^\s*\$\.(?:reset|remove_input_defaults|next)\((?:\w+)?\);\n/gm; // each of them does nothing unless hydrating
      return { code: code.replace(steps, ""), map: null };
    },
  };
}

// The page may load nothing inline (gateway/page.py), so nothing is inlined either.
export default defineConfig({
  plugins: [
    completeWords(),
    svelte({ compilerOptions: { runes: true, cssHash: ({ hash, filename }) => `s${hash(filename).slice(-4)}` } }),
    neverHydrated(),
  ],
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, cssCodeSplit: false },
  server: { proxy: { "/v1": "http://127.0.0.1:8080", "/ws": { target: "ws://127.0.0.1:8080", ws: true } } },
  test: { include: ["tests/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
