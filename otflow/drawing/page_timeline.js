// The timeline of a drawn page, and how it begins.
// ---------------------------------------------------------------- timeline

const time = data.time, canvas = $("bars"), rows = $("rows");
const LEFT = 132, TOP = 22, STUB = 14, span = {a: 0, b: 1};
let rowHeight = 14, rowCount = 0, barAsked = false;
function scaled(ms) {
  const s = time.scale;
  let low = 0, high = s.length - 1;
  while (low < high) { const mid = (low + high) >> 1; if (ms > s[mid][1]) low = mid + 1; else high = mid; }
  const [t0, t1, u0, u1] = s[low];
  return u0 + (t1 > t0 ? Math.min(1, Math.max(0, (ms - t0) / (t1 - t0))) : 0) * (u1 - u0);
}
function shownTime(ms) {
  const a = Math.abs(ms);
  const [n, unit] = a < 1000 ? [ms, "ms"] : a < 60e3 ? [ms / 1e3, "s"] : a < 3600e3 ? [ms / 60e3, "min"]
    : a < 864e5 ? [ms / 3600e3, "h"] : [ms / 864e5, "d"];
  return `${+n.toPrecision(3)} ${unit}`;
}
function drawBars() {
  if (!time || barAsked) return;
  barAsked = true;
  requestAnimationFrame(() => { barAsked = false; drawBarsNow(); });
}
function drawBarsNow() {
  const w = rows.clientWidth, h = rows.clientHeight, ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
    canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio);
    canvas.style.width = w + "px"; canvas.style.height = h + "px";
  }
  const c = canvas.getContext("2d"), css = getComputedStyle(document.body);
  const color = (name) => css.getPropertyValue("--" + name).trim();
  const ink = {soft: color("soft"), edge: color("edge"), wait: color("wait"), bad: color("bad"), box: color("box"),
    line: color("line"), accent: color("accent"), waitbox: color("waitbox"), hues: [...Array(8).keys()].map((i) => color("h" + i))};
  const wide = w - LEFT - 14, scroll = rows.scrollTop;
  const place = (ms) => LEFT + (scaled(ms) - span.a) / (span.b - span.a) * wide;
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, w, h);
  c.font = "11px " + css.fontFamily;
  c.save();
  c.beginPath(); c.rect(LEFT, 0, wide + 14, h); c.clip();
  for (const [start, end] of time.pauses) {
    const x = place(start);
    c.fillStyle = ink.waitbox; c.fillRect(x, TOP, Math.max(1, place(end) - x), h);
  }
  drawScale(c, ink, place, wide, h);
  const inset = rowHeight > 6 ? 2 : rowHeight > 3 ? 0.5 : 0;
  c.save();
  c.beginPath(); c.rect(LEFT, TOP, wide + 14, h); c.clip();
  for (const [node, row, ready, start, end, tone, hue, stood, open] of time.bars) {
    const y = TOP + row * rowHeight - scroll, high = rowHeight - 2 * inset;
    if (y + rowHeight < TOP || y > h) continue;
    const x = place(start), right = open ? x + STUB : Math.max(x + 1.5, place(end));
    if (right < LEFT || x > w) continue;
    const fill = tone === "bad" ? ink.bad : tone === "wait" ? ink.wait : ink.hues[hue < 0 ? 0 : hue];
    c.globalAlpha = hits !== null && !hits.has(node) ? 0.22 : tone === "wait" ? 0.55 : 1;
    if (ready < start && chosen && node === chosen.id) {
      c.fillStyle = ink.accent; c.fillRect(place(ready), y + rowHeight / 2 - 1, x - place(ready), 2);
    }
    if (open) {  // nobody knows how long it went: a stub with an open end
      c.strokeStyle = fill; c.lineWidth = 1; c.globalAlpha = hits !== null && !hits.has(node) ? 0.22 : 1;
      c.setLineDash([3, 2]); c.beginPath();
      c.moveTo(right, y + inset + 0.5); c.lineTo(x + 0.5, y + inset + 0.5);
      c.lineTo(x + 0.5, y + inset + high - 0.5); c.lineTo(right, y + inset + high - 0.5);
      c.stroke(); c.setLineDash([]);
    } else { c.fillStyle = fill; c.fillRect(x, y + inset, right - x, high); }
    for (const [a, b] of stood) {
      const p = place(a), q = Math.max(p + 1, place(b));
      c.fillStyle = ink.box; c.fillRect(p, y + inset, q - p, high);
      c.fillStyle = fill; c.globalAlpha *= 0.3; c.fillRect(p, y + inset, q - p, high); c.globalAlpha /= 0.3;
    }
    if (chosen && node === chosen.id) {
      c.strokeStyle = ink.accent; c.lineWidth = 2; c.strokeRect(x - 1, y + inset - 1, right - x + 2, high + 2);
    }
  }
  c.restore(); c.restore();
  c.globalAlpha = 1;
  for (const [name, first, number] of time.lanes) {
    const y = TOP + first * rowHeight - scroll, bottom = y + number * rowHeight;
    if (bottom < TOP || y > h) continue;
    c.fillStyle = ink.edge; c.fillRect(0, Math.round(bottom) - 0.5, w, 0.5);
    if (number * rowHeight < 9) continue;
    c.fillStyle = ink.soft;
    const at = Math.min(Math.max(y + 11, TOP + 11), bottom - 2);
    if (at > TOP + 6) c.fillText(cut(name, LEFT - 18, 6.2), 12, at);
  }
}
function drawScale(c, ink, place, wide, h) {
  let last = -Infinity;
  c.textAlign = "left";
  for (const [t0, t1, u0, u1, short] of time.scale) {
    const x0 = LEFT + (u0 - span.a) / (span.b - span.a) * wide, x1 = LEFT + (u1 - span.a) / (span.b - span.a) * wide;
    if (x1 < LEFT || x0 > LEFT + wide) continue;
    if (short) {
      c.strokeStyle = ink.line; c.setLineDash([3, 3]); c.beginPath();
      for (const x of [x0, x1]) { c.moveTo(x, 0); c.lineTo(x, h); }
      c.stroke(); c.setLineDash([]);
      c.fillStyle = ink.wait;
      const text = shownTime(t1 - t0), size = c.measureText(text).width;
      if (x1 - x0 > size + 4 && x0 + 2 > last) { c.fillText(text, (x0 + x1 - size) / 2, 14); last = x1; }
      continue;
    }
    const unit = nice((t1 - t0) / Math.max(1, x1 - x0) * 90);
    // where the digits would not tell one tick from the next, count from the beginning of the stretch
    const from = t0 > 300 * unit ? t0 : 0;
    const visible = Math.max(t0, t0 + (LEFT - x0) / (x1 - x0) * (t1 - t0));
    const until = Math.min(t1, t0 + (LEFT + wide - x0) / (x1 - x0) * (t1 - t0));
    for (let n = Math.ceil((visible - from) / unit - 1e-9), i = 0; from + n * unit <= until + unit * 1e-6 && i < 200; n++, i++) {
      const x = place(from + n * unit);
      const text = from && n ? "+" + shownTime(n * unit) : shownTime(from + n * unit);
      c.fillStyle = ink.edge; c.fillRect(x, TOP - 5, 0.7, h);
      const ends = x + 5 + c.measureText(text).width;
      if (x > last + 8 && (ends < x1 || u1 === 1)) { c.fillStyle = ink.soft; c.fillText(text, x + 3, 14); last = ends; }
    }
  }
}
function nice(size) {
  const ten = 10 ** Math.floor(Math.log10(size || 1));
  return [1, 2, 5, 10].find((each) => each * ten >= size) * ten;
}
function barAt(ev) {
  const at = canvas.getBoundingClientRect(), x = ev.clientX - at.left, y = ev.clientY - at.top;
  if (x < LEFT || y < TOP) return null;
  const row = Math.floor((y - TOP + rows.scrollTop) / rowHeight), wide = rows.clientWidth - LEFT - 14;
  const place = (ms) => LEFT + (scaled(ms) - span.a) / (span.b - span.a) * wide;
  let best = null, far = 5;
  for (const bar of time.bars) {
    if (bar[1] !== row) continue;
    const away = Math.max(place(bar[3]) - x, x - place(bar[4]) - (bar[8] ? STUB : 0), 0);
    if (away < far) { far = away; best = bar; }
  }
  return best;
}
function startTimeline() {
  $("timeline").hidden = false;
  for (const [, first, number] of time.lanes) rowCount = Math.max(rowCount, first + number);
  $("timeline").style.maxHeight = TOP + rowCount * 18 + 8 + "px";
  const size = () => {
    rowHeight = Math.min(18, Math.max(3, (rows.clientHeight - TOP - 4) / rowCount));
    const spare = Math.max(0, TOP + rowCount * rowHeight - rows.clientHeight);
    rows.style.setProperty("--spare", spare + "px");
    canvas.style.marginBottom = spare + "px";
    drawBars();
  };
  rows.addEventListener("scroll", drawBars);
  let grip = null, dragged = 0;
  canvas.addEventListener("wheel", (ev) => {
    const wide = rows.clientWidth - LEFT - 14;
    if (!ev.ctrlKey && !ev.altKey && !ev.metaKey && TOP + rowCount * rowHeight > rows.clientHeight + 1) return;
    ev.preventDefault();
    const u = span.a + (ev.clientX - canvas.getBoundingClientRect().left - LEFT) / wide * (span.b - span.a);
    const size = Math.min(1, Math.max(1e-6, (span.b - span.a) * Math.exp(ev.deltaY / 380)));
    const a = u - (u - span.a) / (span.b - span.a) * size;
    span.a = Math.max(0, Math.min(1 - size, a)); span.b = span.a + size;
    drawBars();
  }, {passive: false});
  canvas.addEventListener("pointerdown", (ev) => { grip = ev.clientX; dragged = 0; canvas.setPointerCapture(ev.pointerId); });
  canvas.addEventListener("pointermove", (ev) => {
    if (grip === null) {
      const bar = barAt(ev);
      canvas.title = bar ? `${nodes[bar[0]].title}\n${nodes[bar[0]].note}\n${bar[8] ? "its end is not recorded" : shownTime(bar[4] - bar[3])}` : "";
      canvas.style.cursor = bar ? "pointer" : "";
      return;
    }
    const by = (grip - ev.clientX) / (rows.clientWidth - LEFT - 14) * (span.b - span.a), size = span.b - span.a;
    dragged += Math.abs(ev.clientX - grip); grip = ev.clientX;
    span.a = Math.max(0, Math.min(1 - size, span.a + by)); span.b = span.a + size;
    drawBars();
  });
  canvas.addEventListener("pointerup", () => { grip = null; });
  canvas.addEventListener("click", (ev) => { const bar = dragged > 4 ? null : barAt(ev); if (bar) choose(nodes[bar[0]], true); });
  canvas.addEventListener("dblclick", () => { span.a = 0; span.b = 1; drawBars(); });
  addEventListener("resize", size);
  size();
}

// ---------------------------------------------------------------- begin

function themed() {
  const set = document.documentElement.dataset.theme;
  return set || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}
$("theme").onclick = () => { document.documentElement.dataset.theme = themed() === "dark" ? "light" : "dark"; draw(); drawBars(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawBars);
$("title").textContent = data.title;
$("subtitle").textContent = data.subtitle;
$("subtitle").className = data.tone;
for (const remark of data.remarks) $("remarks").append(html("li", remark));
for (const [lane, hue] of data.lanes.slice(0, 24)) {
  const it = html("li"), mark = html("i");
  mark.style.background = `var(--h${hue})`;
  it.append(mark, lane);
  $("legend").append(it);
}
if (time) startTimeline();
addEventListener("resize", () => { if (fitted) fit(); else draw(); });
begin();
const wish = new URLSearchParams(location.hash.slice(1));  // #node=3, #q=text, #theme=dark
if (["light", "dark"].includes(wish.get("theme"))) document.documentElement.dataset.theme = wish.get("theme");
if (wish.get("q")) { $("search").value = wish.get("q"); find(wish.get("q")); }
if (nodes[wish.get("node")]) choose(nodes[wish.get("node")], view.k < NEAR);
if (wish.get("fit") !== null) fit();
document.documentElement.dataset.ready = "1";
