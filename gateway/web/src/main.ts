import { mount } from "svelte";
import App from "./App.svelte";
import { words } from "./lib/i18n.svelte";
import "./styles/tokens.css";
import "./styles/base.css";

const UNREADABLE = "The page could not be loaded. Load it again. · 页面未能加载，请刷新。";

async function start(target: HTMLElement): Promise<void> {
  if (await words.choose(words.language)) mount(App, { target });
  else target.textContent = UNREADABLE;
}

const target = document.getElementById("app");
if (target) void start(target);
