// Shows /openapi.json: routes by noun, then the objects that they speak of. All text is set as text, never as markup.
"use strict";

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function table(heads, rows) {
  if (rows.length === 0) return null;
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

// The little Markdown that descriptions use: paragraphs, `code`, **strong**.
function prose(text) {
  const paragraphs = text.split(/\n\s*\n/).map((paragraph) => {
    const parts = paragraph.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
      if (part.startsWith("`")) return make("code", {}, part.slice(1, -1));
      return part.startsWith("**") ? make("strong", {}, part.slice(2, -2)) : part;
    });
    return make("p", {}, ...parts);
  });
  return make("div", {}, ...paragraphs);
}

// What a schema says, in one line: a link for a named object, else words.
function kind(schema) {
  if (schema === undefined) return make("span", {}, "anything");
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return make("a", { href: `#model-${name}` }, name);
  }
  const choices = schema.anyOf || schema.oneOf;
  if (choices) {
    const line = make("span", {});
    choices.forEach((choice, i) => line.append(...(i ? [" or "] : []), kind(choice)));
    return line;
  }
  if (schema.enum) return make("span", {}, schema.enum.join(", "));
  if ("const" in schema) return make("span", {}, JSON.stringify(schema.const));
  if (schema.type === "array") return make("span", {}, "list of ", kind(schema.items));
  return make("span", {}, [schema.type || "anything", schema.format].filter(Boolean).join(", "));
}

function bodyOf(operation) {
  if (!operation.requestBody) return null;
  const { schema, example } = operation.requestBody.content["application/json"];
  return make("div", {}, make("h4", {}, "Body: ", kind(schema)), make("pre", {}, JSON.stringify(example, null, 2)));
}

function answersOf(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const kinds = make("span", {});
    Object.entries(response.content).forEach(([media, { schema }], i) => {
      kinds.append(...(i ? ["; "] : []), media.endsWith("json") ? kind(schema) : media);
    });
    return [status, response.description, kinds];
  });
  return table(["status", "what", "object"], rows);
}

function route(method, path, operation) {
  const parameters = operation.parameters.map((p) => [
    make("code", {}, p.name),
    p.in + (p.required ? ", required" : ""),
    kind(p.schema),
    p.description || "",
  ]);
  return make(
    "details",
    { id: operation.operationId, "data-text": `${method} ${path} ${operation.summary}`.toLowerCase() },
    make(
      "summary",
      {},
      make("span", { class: "method" }, method.toUpperCase()),
      make("code", {}, path),
      ` ${operation.summary}`,
    ),
    operation.description ? prose(operation.description) : null,
    table(["parameter", "where", "kind", "what"], parameters),
    bodyOf(operation),
    answersOf(operation),
  );
}

function model(name, schema) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([field, inner]) => [
    make("code", {}, field),
    required.has(field) ? "always" : "may be left out",
    kind(inner),
    inner.description || "",
  ]);
  return make(
    "details",
    { id: `model-${name}`, "data-text": name.toLowerCase() },
    make("summary", {}, make("code", {}, name)),
    schema.description ? prose(schema.description) : null,
    rows.length ? table(["field", "", "kind", "what"], rows) : make("p", {}, kind(schema)),
  );
}

function show(contract) {
  document.getElementById("version").textContent = contract.info.version;
  const nouns = new Map();
  for (const [path, methods] of Object.entries(contract.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const noun = operation.tags[0];
      if (!nouns.has(noun)) nouns.set(noun, []);
      nouns.get(noun).push(route(method, path, operation));
    }
  }
  const parts = [prose(contract.info.description)];
  for (const [noun, routes] of [...nouns].sort()) parts.push(make("section", {}, make("h2", {}, noun), ...routes));
  const models = Object.entries(contract.components.schemas).map(([name, schema]) => model(name, schema));
  parts.push(make("section", {}, make("h2", {}, "objects"), ...models));
  document.getElementById("contract").replaceChildren(...parts);
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}

function find(text) {
  for (const each of document.querySelectorAll("details")) each.hidden = !each.dataset.text.includes(text);
}

document.getElementById("find").addEventListener("input", (event) => find(event.target.value.toLowerCase()));
window.addEventListener("hashchange", openTarget);
fetch("/openapi.json")
  .then((response) => response.json())
  .then(show)
  .then(openTarget)
  .catch((error) => {
    document.getElementById("contract").textContent = `The contract can't be shown: ${error}`;
  });
