// What a drawn page tells of one node, and the search.
// ---------------------------------------------------------------- one node

function choose(n, go) {
  chosen = n;
  const before = graph.clientWidth;
  layers.lit.replaceChildren();
  $("panel").hidden = n === null;
  if (fitted && graph.clientWidth !== before) fit();
  if (n) {
    for (const e of [...n.from, ...n.to].slice(0, 500)) layers.lit.append(make("path", {class: "lit", d: e.path}));
    tell(n);
    const x = n.x * view.k + view.x, y = n.y * view.k + view.y;
    const out = x < 0 || y < 0 || x + n.w * view.k > graph.clientWidth || y + n.h * view.k > graph.clientHeight;
    if (go || out && view.k >= NEAR) center(n);
  }
  draw();
  drawBars();
}
function tell(n) {
  $("name").textContent = n.title;
  $("about").textContent = n.note;
  $("about").className = n.tone;
  const list = $("facts");
  list.replaceChildren();
  for (const [name, text, form] of n.facts) {
    const row = html("div", undefined, form === 2 ? "stack" : form ? "" : "row");
    row.append(html("dt", texts[name]));
    const value = html("dd");
    if (form) value.append(html("pre", texts[text])); else value.textContent = texts[text];
    row.append(value);
    list.append(row);
  }
  const near = $("near");
  near.replaceChildren();
  for (const [word, some, side] of [["from", n.from, "source"], ["to", n.to, "target"]]) {
    if (!some.length) continue;
    near.append(html("b", word));
    for (const e of some.slice(0, 40)) {
      const other = nodes[e[side]], go = html("button", other.title + (other.note ? " · " + other.note : ""));
      go.onclick = () => choose(other, true);
      near.append(go);
    }
    if (some.length > 40) near.append(html("b", `and ${(some.length - 40).toLocaleString("en")} more`));
  }
  $("panel").scrollTop = 0;
}
$("close").onclick = () => choose(null);

// ---------------------------------------------------------------- search

let hay = null;
function find(text) {
  const wanted = text.trim().toLowerCase();
  hitAt = -1;
  if (!wanted) { hits = null; hitList = []; } else {
    if (hay === null) hay = texts.map((each) => each.toLowerCase());
    const good = new Set();
    hay.forEach((each, place) => { if (each.includes(wanted)) good.add(place); });
    hitList = nodes.filter((n) => `${n.title} ${n.note}`.toLowerCase().includes(wanted)
      || n.facts.some((fact) => good.has(fact[1]) || good.has(fact[0])));
    hits = new Set(hitList.map((n) => n.id));
  }
  $("found").value = hits === null ? "" : hitList.length ? hitList.length.toLocaleString("en") : "none";
  layers.hits.replaceChildren();
  if (hitList.length) layers.hits.append(make("path", {class: "b-hit",
    d: hitList.map((n) => `M${n.x} ${n.y}h${n.w}v${n.h}h${-n.w}z`).join("")}));
  draw();
  drawBars();
}
function next(by) {
  if (!hitList.length) return;
  hitAt = (hitAt + by + hitList.length) % hitList.length;
  $("found").value = `${hitAt + 1} of ${hitList.length.toLocaleString("en")}`;
  choose(hitList[hitAt], true);
}
let typing = 0;
$("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => find($("search").value), 80); });
$("search").addEventListener("keydown", (ev) => {
  if (ev.key === "Enter") {
    ev.preventDefault();
    if (hitAt < 0) { clearTimeout(typing); find($("search").value); }
    next(ev.shiftKey ? -1 : 1);
  }
  if (ev.key === "Escape") { $("search").value = ""; find(""); graph.focus(); }
});
document.addEventListener("keydown", (ev) => {
  if (ev.target === $("search") || ev.ctrlKey || ev.metaKey || ev.altKey) return;
  const by = {ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60]}[ev.key];
  if (ev.key === "/") { ev.preventDefault(); $("search").focus(); }
  else if (ev.key === "f") fit();
  else if (ev.key === "+" || ev.key === "=") $("in").click();
  else if (ev.key === "-") $("out").click();
  else if (ev.key === "Escape") choose(null);
  else if (by && document.activeElement === graph) { ev.preventDefault(); fitted = false; view.x += by[0]; view.y += by[1]; draw(); }
});

