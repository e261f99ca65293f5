"use strict";
// Makes a page of /openapi.json. Text becomes text nodes, never markup.

const view = document.getElementById("view");
const query = document.getElementById("query");
let api = {};

/** An element with a class, attributes and children; a child that is a string is text. */
function make(tag, name, ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

/** Text in which `this` is code. */
function prose(tag, name, text) {
  const parts = (text || "").split("`").map((part, at) => (at % 2 ? make("code", "", part) : part));
  return make(tag, name, ...parts);
}

/** What a schema is called, and the schema itself. */
function follow(schema) {
  const name = schema.$ref ? schema.$ref.split("/").pop() : "";
  return [name, name ? api.components.schemas[name] || {} : schema];
}

/** A schema's type in a few words. */
function kind(schema) {
  const [name, found] = follow(schema);
  if (found.oneOf) return found.oneOf.map(kind).join(" or ");
  if (found.type === "array") return `list of ${kind(found.items || {})}`;
  const type = [].concat(found.type || (found.properties || found.allOf ? "object" : "anything")).join(" or ");
  const limits = [
    found.format, found.enum && found.enum.join(" | "),
    found.minimum !== undefined && `from ${found.minimum}`, found.maximum !== undefined && `up to ${found.maximum}`,
    found.minLength && `at least ${found.minLength} long`, found.maxLength && `up to ${found.maxLength} long`,
    found.maxProperties && `up to ${found.maxProperties} members`, found.default !== undefined && `default ${found.default}`,
  ].filter(Boolean);
  const plain = [type, ...limits].join(", ");
  return name && type === "object" ? name : plain;
}

/** All members of an object, those of its parts included: name, schema, whether it is always there. */
function members(schema) {
  const [, found] = follow(schema);
  const own = Object.entries(found.properties || {});
  const needed = found.required || [];
  const parts = (found.allOf || []).flatMap(members);
  const all = new Map(parts.concat(own.map(([name, of]) => [name, of, needed.includes(name)])).map((m) => [m[0], m]));
  return [...all.values()].sort((one, other) => Boolean(other[2]) - Boolean(one[2]));
}

/** What stands inside a schema, down to where it is an object. */
function inner(schema) {
  const [, found] = follow(schema);
  if (found.type === "array") return inner(found.items || {});
  const real = (found.oneOf || []).find((one) => one.type !== "null");
  return real ? inner(real) : schema;
}

/** The members of a schema as a list; deeper ones open on demand. */
function fields(schema, depth = 0) {
  const all = members(inner(schema));
  if (!all.length || depth > 6) return null;
  return make("ul", "fields-list", ...all.map(([name, of, needed]) => {
    const about = follow(of)[1].description || of.description || "";
    const line = make("li", "", make("code", "", name), ` ${kind(of)}${needed ? "" : ", may be left out"} `, prose("span", "soft", about));
    const deeper = fields(of, depth + 1);
    if (deeper) line.append(make("details", "", make("summary", "small", "its members"), deeper));
    return line;
  }));
}

function parameters(route) {
  if (!(route.parameters || []).length) return null;
  const rows = route.parameters.map((one) => make("li", "", make("code", "", one.name),
    ` ${one.in}, ${kind(one.schema)}${one.required ? ", required" : ""} `, prose("span", "soft", one.description || "")));
  return make("section", "", make("h3", "", "Parameters"), make("ul", "fields-list", ...rows));
}

function body(route) {
  if (!route.requestBody) return null;
  const [type, content] = Object.entries(route.requestBody.content)[0];
  const schema = follow(content.schema)[1];
  const needed = route.requestBody.required ? "required" : "may be left out";
  return make("section", "", make("h3", "", "Body"), make("p", "small soft", `${type}, ${needed}. ${schema.description || ""}`),
    fields(content.schema) || "");
}

function answer([status, one]) {
  const tone = status < 300 || status === "2XX" ? "good" : status < 500 ? "doubt" : "bad";
  const item = make("li", "", make("p", "", make("span", `chip ${tone}`, status), " ", prose("span", "", one.description)));
  const headers = Object.keys(one.headers || {});
  if (headers.length) item.append(make("p", "small soft", `Headers: ${headers.join(", ")}`));
  for (const [type, content] of Object.entries(one.content || {})) {
    if (type === "application/problem+json") continue;
    const shape = content["x-event-data"] || content.schema;
    const inside = shape && fields(shape);
    const line = `${type}${shape ? `: ${kind(shape)}` : ""}`;
    item.append(inside ? make("details", "", make("summary", "small", line), inside) : make("p", "small soft", line));
  }
  return item;
}

/** A line for a shell that asks this. */
function curl(method, path, route) {
  const words = [`curl -sS${method === "get" ? "" : ` -X ${method.toUpperCase()}`} ${location.origin}${path}`];
  for (const one of route.parameters || []) {
    if (one.in === "header" && one.required) words.push(`-H '${one.name}: ${one.example || ""}'`);
  }
  const content = route.requestBody && route.requestBody.content["application/json"];
  const example = content && follow(content.schema)[1].example;
  if (api.components.securitySchemes && route.security) words.push("-H \"Authorization: Bearer $PAYONCE_API_KEY\"");
  if (example) words.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(example)}'`);
  return make("section", "", make("h3", "", "Try it"), make("pre", "", words.join(" \\\n  ")));
}

function route(path, method, one) {
  const inside = make("div", "inside", prose("p", "about", one.description || ""), parameters(one), body(one),
    make("section", "", make("h3", "", "Answers"), make("ul", "answers-list", ...Object.entries(one.responses).map(answer))),
    curl(method, path, one));
  if (!one.description) inside.firstChild.remove();
  const head = make("summary", "", make("span", `method ${method}`, method.toUpperCase()), make("code", "", path),
    make("span", "soft", one.summary));
  const card = make("details", "card route", head, inside);
  card.id = one.operationId;
  card.addEventListener("toggle", () => card.open && history.replaceState(null, "", `#${card.id}`));
  return card;
}

/** What is told the other way round. */
function told() {
  const all = Object.values(api.webhooks || {}).map((methods) => methods.post);
  return make("section", "routes", make("h2", "", "webhooks"), make("p", "soft", "What receivers are told by themselves."),
    ...all.map((one) => {
      const card = route("your URL", "post", one);
      card.querySelector("pre").parentElement.remove();
      return card;
    }));
}

/** The stable codes, each with where it is said; what a problem's `type` points to. */
function codes() {
  const found = new Map();
  for (const one of Object.values(api.paths).flatMap(Object.values)) {
    for (const [status, answer] of Object.entries(one.responses)) {
      if (!((answer.content || {})["application/problem+json"])) continue;
      for (const line of answer.description.split("\n")) found.set(line.split("`")[1], found.get(line.split("`")[1]) || [status, line]);
    }
  }
  const rows = [...found].sort().map(([code, [status, line]]) => {
    const row = make("li", "", make("span", "chip", status), " ", prose("span", "", line));
    row.id = code;
    return row;
  });
  return make("section", "routes", make("h2", "", "Codes"), make("ul", "answers-list card", ...rows));
}

function draw() {
  view.replaceChildren(make("h1", "", `${api.info.title} ${api.info.version}`), prose("p", "about", api.info.description));
  const all = Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, one]) => [path, method, one]));
  for (const tag of api.tags) {
    const mine = all.filter(([, , one]) => one.tags.includes(tag.name));
    view.append(make("section", "routes", make("h2", "", tag.name), make("p", "soft", tag.description), ...mine.map((one) => route(...one))));
  }
  view.append(told(), codes());
  show();
}

/** Opens what the address names. */
function show() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!named || named === view) return;
  if (named.tagName === "DETAILS") named.open = true;
  named.scrollIntoView();
}

function find() {
  const word = query.value.trim().toLowerCase();
  for (const card of view.querySelectorAll(".route")) card.hidden = !card.textContent.toLowerCase().includes(word);
  for (const part of view.querySelectorAll("section.routes")) {
    const cards = [...part.querySelectorAll(".route")];
    part.hidden = cards.length > 0 && cards.every((card) => card.hidden);
  }
}

query.addEventListener("input", find);
document.getElementById("search").addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", show);
fetch("/openapi.json").then((answer) => answer.json()).then((read) => { api = read; draw(); })
  .catch((error) => view.replaceChildren(make("p", "", `The document cannot be read: ${error.message}`)));
