// The live page: puts what the node renders in place.
//
// Prevents a page that looks alive and is not: when frames stop, it says since when.

const ROWS_MAX = 500;
const STALE_AFTER_MS = 3000;
const RECONNECT_MS = 5000;

const byId = (id) => document.getElementById(id);
const live = byId("live");
const rows = byId("rows");
const filter = byId("q");

/** Makes `from` equal to `to` and touches only what differs, so that selection and focus stay. */
function morph(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name)) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  morphChildren(from, to);
}

function morphChildren(from, to) {
  const wanted = [...to.childNodes];
  const present = [...from.childNodes];
  wanted.forEach((node, i) => {
    if (i < present.length) morph(present[i], node);
    else from.append(node);
  });
  present.slice(wanted.length).forEach((node) => node.remove());
}

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

/** Hides a row that does not contain the filter's words. */
function sift(row) {
  if (row.classList.contains("gap")) return;
  const words = [...row.cells].slice(1).map((cell) => cell.textContent).join(" ");
  row.hidden = !words.toLowerCase().includes(filter.value.trim().toLowerCase());
}

filter.addEventListener("input", () => {
  [...rows.rows].forEach(sift);
  const url = new URL(location.href);
  if (filter.value.trim()) url.searchParams.set("q", filter.value.trim());
  else url.searchParams.delete("q");
  history.replaceState(null, "", url);
});
filter.form.addEventListener("submit", (event) => event.preventDefault());

let lastFrame = performance.now();
let alive = false;

function frame() {
  lastFrame = performance.now();
  if (!alive) tell(true);
}

function tell(now) {
  alive = now;
  const link = byId("link");
  link.classList.toggle("alive", now);
  link.firstElementChild.textContent = now ? "●" : "○";
  link.lastChild.data = now ? " live" : " not live";
}

setInterval(() => {
  const age = performance.now() - lastFrame;
  const stale = byId("stale");
  stale.hidden = age < STALE_AFTER_MS;
  document.body.classList.toggle("is-stale", !stale.hidden);
  if (stale.hidden) return;
  if (alive) tell(false);
  // Hidden from screen readers, which would say the whole banner each second.
  byId("age").textContent = ` since ${Math.floor(age / 1000)} s`;
}, 1000);

function onPage(event) {
  const next = parse(event.data);
  const started = (root) => root.querySelector("[data-started]")?.dataset.started;
  // Another process: numbers start again, and this page's history is not its own.
  if (started(live) !== started(next)) {
    location.reload();
    return;
  }
  morphChildren(live, next);
  document.title = live.querySelector("[data-title]").dataset.title;
  frame();
}

function onRow(event) {
  const row = parse(event.data).firstElementChild;
  sift(row);
  row.classList.add("fresh");
  rows.prepend(row);
  while (rows.rows.length > ROWS_MAX) rows.lastElementChild.remove();
  onBeat(event);
}

let after = rows.dataset.after;

function onBeat(event) {
  if (event.lastEventId) after = event.lastEventId;
  frame();
}

function connect() {
  const stream = new EventSource(`/api/v1/stream?view=page&after=${after}`);
  stream.addEventListener("page", onPage);
  stream.addEventListener("row", onRow);
  stream.addEventListener("beat", onBeat);
  stream.addEventListener("error", () => {
    // The browser comes back by itself, unless the node refused, for instance for want of places.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, RECONNECT_MS);
  });
}

const THEMES = ["auto", "light", "dark"];
const root = document.documentElement;
const button = byId("theme");

function showTheme() {
  button.lastElementChild.textContent = root.dataset.theme ?? "auto";
}

button.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "auto") + 1) % THEMES.length];
  if (next === "auto") delete root.dataset.theme;
  else root.dataset.theme = next;
  try {
    localStorage.setItem("mainstay-theme", next);
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
  showTheme();
});

showTheme();
connect();
