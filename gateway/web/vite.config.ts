import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";
import { en } from "./src/locales/en.ts";
import { zh } from "./src/locales/zh.ts";

/** A key that one language has and another lacks, or an empty text, fails the build. */
function completeWords(): Plugin {
  return {
    name: "complete-words",
    buildStart() {
      const [first, second] = [Object.entries(en), Object.entries(zh)];
      const lacking = [
        ...first.filter(([key]) => !(key in zh)),
        ...second.filter(([key]) => !(key in en)),
        ...[...first, ...second].filter(([, text]) => text === ""),
      ];
      if (lacking.length > 0) this.error(`not in both languages: ${lacking.map(([key]) => key).join(", ")}`);
    },
    /** Keys are sent once: the second language's texts stand in the order of the first one's keys. */
    transform(_, id) {
      if (!id.endsWith("/locales/zh.ts")) return null;
      const texts = JSON.stringify(Object.keys(en).map((key) => zh[key as keyof typeof en]));
      const code = `import { en } from "./en.ts";
        const texts = ${texts};
        export const zh = Object.fromEntries(Object.keys(en).map((key, i) => [key, texts[i]]));`;
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
