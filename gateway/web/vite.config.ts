import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";
import { en } from "./src/locales/en.ts";
import { operator as operatorEn } from "./src/locales/en/operator.ts";
import { zh } from "./src/locales/zh.ts";
import { operator as operatorZh } from "./src/locales/zh/operator.ts";

const WORDS = [
  { first: "./en.ts", second: "/locales/zh.ts", name: "en", en, zh },
  { first: "../en/operator.ts", second: "/locales/zh/operator.ts", name: "operator", en: operatorEn, zh: operatorZh },
].map((each) => ({ ...each, en: each.en as Record<string, string>, zh: each.zh as Record<string, string> }));

/** A key that one language has and another lacks, or an empty text, fails the build. */
function completeWords(): Plugin {
  return {
    name: "complete-words",
    buildStart() {
      for (const { en: first, zh: second } of WORDS) {
        const keys = new Set([...Object.keys(first), ...Object.keys(second)]);
        const lacking = [...keys].filter((key) => !first[key] || !second[key]);
        if (lacking.length > 0) this.error(`not in both languages: ${lacking.join(", ")}`);
      }
    },
    /** Keys are sent once: the second language's texts stand in the order of the first one's keys. */
    transform(_, id) {
      const found = WORDS.find(({ second }) => id.endsWith(second));
      if (!found) return null;
      const { first, name, en: keys, zh: texts } = found;
      const code = `import { ${name} as first } from "${first}";
        const texts = ${JSON.stringify(Object.keys(keys).map((key) => texts[key]))};
        export const ${name === "en" ? "zh" : name} = Object.fromEntries(Object.keys(first).map((key, i) => [key, texts[i]]));`;
      return { code, map: null };
    },
  };
}

// The page may load nothing inline (gateway/page.py), so nothing is inlined either.
export default defineConfig({
  plugins: [completeWords(), svelte({ compilerOptions: { cssHash: ({ hash, filename }) => `s${hash(filename).slice(-4)}` } })],
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, cssCodeSplit: false },
  server: { proxy: { "/v1": "http://127.0.0.1:8080", "/ws": { target: "ws://127.0.0.1:8080", ws: true } } },
  test: { include: ["tests/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
