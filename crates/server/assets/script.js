"use strict";

// Makes the page from openapi.json. All text goes in as text, never as HTML.

const METHODS = ["get", "post", "put", "patch", "delete"];
// A schema within a schema within a schema …
const DEEPEST = 5;

let api = {};

/** An element: its name, its attributes, what is in it. */
function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** A description: `code` between backticks, the rest as it is. */
function prose(text) {
  return (text || "").split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

/** What a `$ref` stands for. */
function resolve(node) {
  if (!node || !node.$ref) return node || {};
  const path = node.$ref.replace(/^#\//, "").split("/").map((part) => part.replace(/~1/g, "/").replace(/~0/g, "~"));
  return path.reduce((at, part) => (at ? at[part] : undefined), api) || {};
}

function refName(node) {
  return node && node.$ref ? node.$ref.split("/").pop() : null;
}

/** Without the "or null" of what may be left out. */
function essence(schema) {
  const choices = (schema && (schema.oneOf || schema.anyOf)) || [];
  const real = choices.filter((choice) => choice.type !== "null");
  return choices.length > real.length && real.length === 1 ? real[0] : schema || {};
}

/** The type in words, with a link where it has a name. */
function typeOf(given) {
  const schema = essence(given);
  const name = refName(schema);
  if (name) return [el("a", { href: "#schema-" + name }, name)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  const choices = schema.oneOf || schema.anyOf;
  if (choices) return choices.flatMap((choice, index) => (index ? [" | ", ...typeOf(choice)] : typeOf(choice)));
  const types = [].concat(schema.type || "any").filter((type) => type !== "null");
  if (types.includes("array")) return ["list of ", ...typeOf(schema.items)];
  if (types.includes("object") && schema.additionalProperties && schema.additionalProperties.type) {
    return ["object of ", ...typeOf(schema.additionalProperties)];
  }
  return [types.join(" | ") + (schema.format ? " (" + schema.format + ")" : "")];
}

/** Ranges, defaults, examples. */
function bounds(given) {
  const schema = resolve(essence(given));
  const says = [
    ["minimum", "at least "], ["exclusiveMinimum", "above "], ["maximum", "at most "], ["minLength", "length at least "],
    ["maxLength", "length at most "], ["default", "default "], ["example", "as in "], ["pattern", "pattern "],
  ];
  const known = says.filter(([key]) => schema[key] !== undefined && typeof schema[key] !== "object");
  return known.map(([key, words]) => words + (typeof schema[key] === "string" ? schema[key] : JSON.stringify(schema[key])));
}

function table(heads, rows) {
  const head = el("tr", {}, heads.map((text) => el("th", { scope: "col" }, text)));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, rows));
}

/** One line of a table of fields or parameters. */
function field(name, schema, description, required) {
  const facts = bounds(schema).join("; ");
  const own = description || schema.description || essence(schema).description || resolve(essence(schema)).description;
  return el("tr", {},
    el("th", { scope: "row" }, el("code", {}, name), required ? el("small", {}, " required") : null),
    el("td", {}, typeOf(schema)),
    el("td", {}, prose(own), facts ? el("div", { class: "soft" }, facts) : null));
}

/** The fields of an object, the values of an enumeration, or the choices. */
function schemaBody(schema) {
  const parts = [];
  if (schema.description) parts.push(el("p", {}, prose(schema.description)));
  if (schema.properties) {
    const required = schema.required || [];
    parts.push(table(["field", "type", "meaning"], Object.entries(schema.properties).map(([name, inner]) =>
      field(name, inner, null, required.includes(name)))));
  } else {
    parts.push(el("p", {}, typeOf(schema)));
    const facts = bounds(schema).join("; ");
    if (facts) parts.push(el("p", { class: "soft" }, facts));
  }
  return parts;
}

/** A value that fits a schema. */
function sample(given, depth = 0) {
  const schema = resolve(essence(given));
  if (schema.example !== undefined) return schema.example;
  if (Array.isArray(schema.examples)) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const choice = (schema.oneOf || schema.anyOf || schema.allOf || [])[0];
  if (choice) return sample(choice, depth);
  const type = [].concat(schema.type || []).find((name) => name !== "null");
  if (type === "array") return depth < DEEPEST ? [sample(schema.items, depth + 1)] : [];
  if (type === "object") {
    const fields = Object.entries(depth < DEEPEST ? schema.properties || {} : {});
    return Object.fromEntries(fields.map(([name, inner]) => [name, sample(inner, depth + 1)]));
  }
  if (type === "integer" || type === "number") return schema.minimum || 0;
  if (type === "boolean") return true;
  if (schema.format === "uuid") return "01a20597-69e7-7637-aa8e-2782612facfc";
  return schema.format === "date-time" ? "2026-01-01T00:00:00Z" : "text";
}

/** Of a request: what is required, or has an example of its own. */
function smallSample(given) {
  const schema = resolve(essence(given));
  const wanted = Object.entries(schema.properties || {}).filter(([name]) => (schema.required || []).includes(name));
  return Object.fromEntries(wanted.map(([name, inner]) => [name, sample(inner)]));
}

function quote(text) {
  return "'" + text.replace(/'/g, "'\\''") + "'";
}

/** The address of the server, without the page's own path. */
function base() {
  return new URL(".", document.baseURI).href.replace(/\/$/, "");
}

function curlLine(method, path, operation) {
  const fits = (parameter) => parameter.in === "path" && parameter.name === "path" ? "plot.png" : "ID";
  const filled = (operation.parameters || []).map(resolve).filter((parameter) => parameter.in === "path")
    .reduce((url, parameter) => url.replace("{" + parameter.name + "}", fits(parameter)), path);
  const words = ["curl"];
  if (method !== "get" && method !== "post") words.push("-X " + method.toUpperCase());
  const media = operation.requestBody && resolve(operation.requestBody).content["application/json"];
  if (method === "post" && !media) words.push("-X POST");
  if (path.endsWith("/events")) words.push("--no-buffer");
  words.push(quote(base() + filled));
  if (media) {
    words.push("-H 'Content-Type: application/json'", "-d " + quote(JSON.stringify(smallSample(media.schema))));
  }
  return words.join(" ");
}

/** Text with a button that copies it. */
function copyable(text) {
  const button = el("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch (error) {
      // Only pages of a secure context may write there.
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return el("div", { class: "copied" }, el("pre", { tabindex: "0" }, text), button);
}

function contentOf(content) {
  return Object.entries(content || {}).map(([kind, media]) => {
    const name = refName(essence(media.schema));
    const parts = [el("p", {}, el("code", {}, kind), ": ", typeOf(media.schema))];
    if (name) {
      const shown = JSON.stringify(media.example || sample(media.schema), null, 2);
      parts.push(el("details", {}, el("summary", {}, name), schemaBody(resolve(essence(media.schema))), el("h3", {}, "Example"),
        el("pre", { tabindex: "0" }, shown)));
    }
    return parts;
  }).flat();
}

function responseOf(status, given) {
  const response = resolve(given);
  const headers = Object.entries(response.headers || {}).map(([name, header]) =>
    field(name, resolve(header).schema || {}, resolve(header).description, false));
  return el("details", {},
    el("summary", {}, el("code", {}, status), " ", prose(response.description)),
    headers.length ? table(["header", "type", "meaning"], headers) : null,
    contentOf(response.content));
}

function operationOf(method, path, operation) {
  const parameters = (operation.parameters || []).map(resolve);
  const body = operation.requestBody ? resolve(operation.requestBody) : null;
  const rows = parameters.map((parameter) => {
    const row = field(parameter.name, parameter.schema || {}, parameter.description, parameter.required);
    row.insertBefore(el("td", {}, parameter.in), row.children[1]);
    return row;
  });
  return el("details", { id: "operation-" + operation.operationId, class: "operation" },
    el("summary", {}, el("span", { class: "mono method " + method }, method.toUpperCase()), " ", el("code", {}, path),
      el("span", { class: "soft" }, " ", prose(operation.summary))),
    operation.description ? el("p", {}, prose(operation.description)) : null,
    copyable(curlLine(method, path, operation)),
    rows.length ? [el("h3", {}, "Parameters"), table(["name", "in", "type", "meaning"], rows)] : null,
    body ? [el("h3", {}, "Body"), contentOf(body.content)] : null,
    el("h3", {}, "Answers"),
    Object.entries(operation.responses || {}).map(([status, response]) => responseOf(status, response)));
}

function render() {
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("about").replaceChildren(...prose(api.info.description));
  const contents = document.getElementById("contents");
  const operations = document.getElementById("operations");
  operations.replaceChildren();
  const all = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, operation: item[method] })));
  const described = new Map((api.tags || []).map((tag) => [tag.name, tag.description]));
  const tags = new Set([...described.keys(), ...all.flatMap((one) => one.operation.tags || [])]);
  for (const tag of tags) {
    const mine = all.filter((one) => (one.operation.tags || []).includes(tag));
    if (!mine.length) continue;
    operations.append(el("section", {}, el("h2", {}, tag, el("small", {}, " ", prose(described.get(tag)))),
      mine.map((one) => operationOf(one.method, one.path, one.operation))));
    contents.append(el("h2", {}, tag), el("ul", {}, mine.map(({ method, path, operation }) => el("li", {},
      el("a", { href: "#operation-" + operation.operationId },
        el("span", { class: "mono method " + method }, method.toUpperCase()), " ", el("span", { class: "mono" }, path))))));
  }
  const schemas = Object.entries((api.components || {}).schemas || {});
  operations.append(el("section", {}, el("h2", {}, "schemas"), schemas.map(([name, schema]) =>
    el("details", { id: "schema-" + name }, el("summary", {}, el("code", {}, name)), schemaBody(schema)))));
}

/** Opens what the address names. */
function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  target.scrollIntoView();
}

async function run(event) {
  event.preventDefault();
  const answer = document.getElementById("answer");
  const button = event.target.querySelector("button");
  const value = (id) => document.getElementById(id).value;
  const headers = { "Content-Type": "application/json" };
  if (value("key")) headers["X-Api-Key"] = value("key");
  const request = { code: value("code") };
  if (value("timeout")) request.timeout = Number(value("timeout"));
  button.disabled = true;
  answer.replaceChildren(el("p", {}, "Running …"));
  try {
    const response = await fetch("api/python/execute", { method: "POST", headers, body: JSON.stringify(request) });
    const result = await response.json();
    const says = result.termination ? result.status + ": " + result.termination.message : result.title + ": " + result.detail;
    answer.replaceChildren(el("p", { id: "verdict" }, response.status + " " + says));
    for (const stream of ["stdout", "stderr"]) {
      if (result[stream]) answer.append(el("h3", {}, stream), el("pre", { id: stream, tabindex: "0" }, result[stream]));
    }
    if (result.hint) answer.append(el("p", {}, prose(result.hint)));
    answer.append(el("details", {}, el("summary", {}, "The whole answer"),
      el("pre", { tabindex: "0" }, JSON.stringify(result, null, 2))));
  } catch (error) {
    answer.replaceChildren(el("p", {}, "There was no answer: " + error.message));
  } finally {
    button.disabled = false;
  }
}

document.getElementById("try").addEventListener("submit", run);
addEventListener("hashchange", openTarget);
fetch("openapi.json")
  .then((response) => (response.ok ? response.json() : Promise.reject(new Error("status " + response.status))))
  .then((found) => { api = found; render(); openTarget(); })
  .catch((error) => document.getElementById("operations").replaceChildren(
    el("p", {}, "openapi.json could not be read: " + error.message)));
