// The official AsyncAPI parser over the document that the market serves: it has no error to report.
import assert from "node:assert/strict";
import { Parser } from "@asyncapi/parser";

const text = await (await fetch(`${process.env.MARKET_URL}/asyncapi.json`)).text();
const { document, diagnostics } = await new Parser().parse(text);
const [ERROR, WARNING] = [0, 1];
for (const { severity, message, path } of diagnostics.filter(({ severity }) => severity <= WARNING)) {
  console.log(`  ${severity === ERROR ? "error" : "warning"}: ${message} at ${path.join("/")}`);
}
assert.ok(document, "the parser does not accept the document");
assert.ok(!diagnostics.some(({ severity }) => severity === ERROR), "the document has errors");
console.log(`  ${document.version()}: ${document.operations().length} operations, ${document.messages().length} messages`);
assert.ok(document.operations().length > 10);
