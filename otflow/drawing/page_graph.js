// The graph of a drawn page. Texts of users come out of the data and go into the page as text nodes only.
// The three scripts are put into the page as one function, in the order graph, panel, timeline.
const NS = "http://www.w3.org/2000/svg";
const MANY = 700;            // nodes in sight: more of them are drawn as blocks
const NEAR = 0.34;           // scale from which on texts can be read
const CELL = 600;            // pixels of a square of the index of nodes
const data = JSON.parse(document.getElementById("data").textContent);
const texts = data.texts;
const nodes = data.nodes.map((n, id) => ({id, x: n[0], y: n[1], w: n[2], h: n[3], kind: n[4], tone: n[5],
  title: texts[n[6]], note: texts[n[7]], hue: n[8], facts: n[9], from: [], to: []}));
const edges = data.edges.map((e, id) => ({id, source: e[0], target: e[1], label: texts[e[2]], style: e[3], path: e[4]}));
for (const e of edges) { nodes[e.source].to.push(e); nodes[e.target].from.push(e); }
const $ = (id) => document.getElementById(id);
const graph = $("graph"), svg = $("view");

function make(name, attributes, text) {
  const it = document.createElementNS(NS, name);
  for (const key in attributes) it.setAttribute(key, attributes[key]);
  if (text !== undefined) it.textContent = text;
  return it;
}
function html(name, text, kind) {
  const it = document.createElement(name);
  if (text !== undefined) it.textContent = text;
  if (kind) it.className = kind;
  return it;
}
function cut(text, width, size) {
  const most = Math.max(1, Math.floor(width / size));
  return text.length <= most ? text : text.slice(0, most - 1).trimEnd() + "…";
}

// ---------------------------------------------------------------- what is seen of the graph

const world = make("g", {});
const layers = {};
for (const name of ["lines", "lit", "tips", "blocks", "hits", "boxes"]) world.append(layers[name] = make("g", {}));
svg.append(world);
svg.classList.toggle("many", edges.length > 400);
const styles = new Map();
for (const e of edges) styles.set(e.style, (styles.get(e.style) || "") + e.path);
for (const [style, path] of styles) layers.lines.append(make("path", {class: "edge far " + style, d: path}));
const blocks = new Map();
for (const n of nodes) {
  const key = n.tone ? "b-" + n.tone : n.hue < 0 ? "b-faint" : "h" + n.hue;
  blocks.set(key, (blocks.get(key) || "") + `M${n.x} ${n.y}h${n.w}v${n.h}h${-n.w}z`);
}
for (const [key, path] of blocks) layers.blocks.append(make("path", {class: "block " + key, d: path}));
const grid = new Map();
for (const n of nodes) {
  const key = Math.floor(n.x / CELL) + "," + Math.floor(n.y / CELL);
  if (!grid.has(key)) grid.set(key, []);
  grid.get(key).push(n);
}

const view = {x: 0, y: 0, k: 1};
const shown = new Map();
let fitted = false, chosen = null, hits = null, hitList = [], hitAt = -1, asked = false;

function inSight() {
  const w = graph.clientWidth / view.k, h = graph.clientHeight / view.k;
  const x = -view.x / view.k, y = -view.y / view.k;
  const cells = (w / CELL + 2) * (h / CELL + 2);
  const found = [];
  const look = (n) => { if (n.x < x + w && n.x + n.w > x && n.y < y + h && n.y + n.h > y) found.push(n); };
  if (cells > grid.size) { for (const n of nodes) look(n); return found; }
  for (let i = Math.floor(x / CELL) - 1; i <= (x + w) / CELL; i++)
    for (let j = Math.floor(y / CELL) - 1; j <= (y + h) / CELL; j++)
      for (const n of grid.get(i + "," + j) || []) look(n);
  return found;
}
function draw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; drawNow(); });
}
function drawNow() {
  world.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`);
  const sight = view.k >= NEAR ? inSight() : null;
  const near = sight !== null && sight.length <= MANY;
  layers.blocks.style.display = near ? "none" : "";
  layers.boxes.style.display = layers.tips.style.display = near ? "" : "none";
  layers.hits.style.display = near ? "none" : "";
  svg.dataset.mode = near ? "near" : "far";
  if (!near) return;
  const wanted = new Set(sight);
  for (const [n, it] of shown) if (!wanted.has(n)) { it.box.remove(); it.tips.remove(); shown.delete(n); }
  for (const n of sight) if (!shown.has(n)) {
    const it = {box: drawNode(n), tips: drawTips(n)};
    layers.boxes.append(it.box); layers.tips.append(it.tips);
    shown.set(n, it);
  }
  for (const [n, it] of shown) {
    it.box.classList.toggle("on", n === chosen);
    it.box.classList.toggle("hit", hits !== null && hits.has(n.id));
    it.box.classList.toggle("dim", hits !== null && !hits.has(n.id));
  }
}
function drawNode(n) {
  const g = make("g", {class: `node k-${n.kind} ${n.tone}`, transform: `translate(${n.x} ${n.y})`, "data-node": n.id});
  g.append(make("title", {}, n.title + (n.note ? "\n" + n.note : "")));
  const round = {step: 6, gap: 2}[n.kind] || n.h / 2;
  g.append(make("rect", {class: "box", width: n.w, height: n.h, rx: round}));
  const step = n.kind === "step";
  if (n.hue >= 0) g.append(step ? make("rect", {class: "h" + n.hue, x: 5, y: 7, width: 4, height: n.h - 14, rx: 2})
    : make("circle", {class: "h" + n.hue, cx: 13, cy: n.h / 2, r: 3.5}));
  const left = step ? 18 : 22, room = n.w - left - 8, middle = n.h / 2;
  g.append(make("text", {class: "name", x: left, y: n.note ? middle - 3 : middle + 4}, cut(n.title, room, 7.3)));
  if (n.note) g.append(make("text", {class: "note", x: left, y: middle + 12}, cut(n.note, room, 5.9)));
  return g;
}
function drawTips(n) {
  const g = make("g", {});
  if (!n.from.length) return g;
  const seen = new Set();
  for (const e of n.from) {
    const up = nodes[e.source].x + nodes[e.source].w > n.x;
    if (e.label && seen.size < 3 && !seen.has(e.label)) {
      g.append(make("text", {class: "label", x: n.x - 13, y: n.y + n.h / 2 - 5 - 13 * seen.size,
        "text-anchor": "end"}, cut(e.label, 18, 1)));
      seen.add(e.label);
    }
    if (up) g.dataset.back = "1";
  }
  g.append(make("path", {class: "tip", d: `M${n.x - 1} ${n.y + n.h / 2}l-7 -3.5v7z`}));
  return g;
}

// ---------------------------------------------------------------- moving about

function zoom(factor, x, y) {
  fitted = false;
  const k = Math.min(3, Math.max(least(), view.k * factor));
  view.x = x - (x - view.x) * k / view.k;
  view.y = y - (y - view.y) * k / view.k;
  view.k = k;
  draw();
}
function least() {
  return Math.min(0.3, Math.min(graph.clientWidth / data.size[0], graph.clientHeight / data.size[1]) * 0.8);
}
function fit() {
  const k = Math.min(graph.clientWidth / data.size[0], graph.clientHeight / data.size[1], 1.15);
  view.k = k;
  view.x = (graph.clientWidth - data.size[0] * k) / 2;
  view.y = (graph.clientHeight - data.size[1] * k) / 2;
  fitted = true;
  draw();
}
function begin() {
  fit();
  if (view.k >= 0.42 || !nodes.length) return;
  // too small to read: begin where the run does
  fitted = false;
  const first = nodes.reduce((a, b) => b.x < a.x ? b : a);
  view.k = Math.min(0.9, Math.max(0.7, graph.clientHeight / data.size[1]));
  view.x = 24 - first.x * view.k;
  view.y = graph.clientHeight / 2 - (first.y + first.h / 2) * view.k;
  draw();
}
function center(n) {
  fitted = false;
  if (view.k < 0.6) view.k = 0.8;
  view.x = graph.clientWidth / 2 - (n.x + n.w / 2) * view.k;
  view.y = graph.clientHeight / 2 - (n.y + n.h / 2) * view.k;
  draw();
}
graph.addEventListener("wheel", (ev) => {
  ev.preventDefault();
  const at = graph.getBoundingClientRect();
  if (ev.shiftKey) { fitted = false; view.x -= ev.deltaY || ev.deltaX; draw(); return; }
  zoom(Math.exp(-Math.max(-120, Math.min(120, ev.deltaY)) / 380), ev.clientX - at.left, ev.clientY - at.top);
}, {passive: false});
const fingers = new Map();
let moved = 0, spread = 0;
graph.addEventListener("pointerdown", (ev) => {
  if (ev.button) return;
  fingers.set(ev.pointerId, [ev.clientX, ev.clientY]);
  moved = 0; spread = 0;
});
graph.addEventListener("pointermove", (ev) => {
  const before = fingers.get(ev.pointerId);
  if (!before) return;
  const dx = ev.clientX - before[0], dy = ev.clientY - before[1];
  moved += Math.abs(dx) + Math.abs(dy);
  fingers.set(ev.pointerId, [ev.clientX, ev.clientY]);
  if (fingers.size === 2) {
    const [[ax, ay], [bx, by]] = [...fingers.values()];
    const apart = Math.hypot(ax - bx, ay - by), at = graph.getBoundingClientRect();
    if (spread) zoom(apart / spread, (ax + bx) / 2 - at.left, (ay + by) / 2 - at.top);
    spread = apart;
  } else if (moved > 4) {
    if (!graph.classList.contains("drag")) { graph.classList.add("drag"); graph.setPointerCapture(ev.pointerId); }
    view.x += dx; view.y += dy; fitted = false;
    draw();
  }
});
for (const name of ["pointerup", "pointercancel"]) graph.addEventListener(name, (ev) => {
  fingers.delete(ev.pointerId); spread = 0;
  graph.classList.remove("drag");
});
graph.addEventListener("click", (ev) => {
  if (moved > 4) return;
  const at = graph.getBoundingClientRect();
  const x = (ev.clientX - at.left - view.x) / view.k, y = (ev.clientY - at.top - view.y) / view.k;
  const near = ev.target.closest ? ev.target.closest("[data-node]") : null;
  const found = near ? nodes[+near.dataset.node]
    : nodes.find((n) => x >= n.x && x <= n.x + n.w && y >= n.y && y <= n.y + n.h);
  choose(found || null);
});
$("in").onclick = () => zoom(1.4, graph.clientWidth / 2, graph.clientHeight / 2);
$("out").onclick = () => zoom(1 / 1.4, graph.clientWidth / 2, graph.clientHeight / 2);
$("fit").onclick = fit;

