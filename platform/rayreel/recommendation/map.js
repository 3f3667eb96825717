"use strict";
const at = (id) => document.getElementById(id);
const data = JSON.parse(at("data").textContent);
at("data").remove(); // a second copy of it all
const dark = matchMedia("(prefers-color-scheme: dark)");
// WebGL draws a million points; few need none, and some browsers have none.
const many = data.count > 3000;
const NDCG = "nDCG@10";
const CLUSTER = "cluster";
const THREE = "3-D";
// Plotly passes no mouse position in three dimensions.
const mouse = { x: 0, y: 0 };

function fill(select, names) {
  for (const name of names) select.add(new Option(name, name));
  select.addEventListener("change", draw);
}

function bytes(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text).buffer;
  const raw = atob(text);
  const out = new Uint8Array(raw.length);
  for (let n = 0; n < raw.length; n++) out[n] = raw.charCodeAt(n);
  return out.buffer;
}

const numbers = (text) => new Float32Array(bytes(text));

/** The lines of a text, found when one is needed. */
function lines(text) {
  let starts = null;
  return (n) => {
    if (!starts) {
      starts = new Uint32Array(data.count + 1).fill(text.length + 1);
      for (let line = 0, from = 0; line < data.count; line++, from = text.indexOf("\n", from) + 1) starts[line] = from;
    }
    return text.slice(starts[n], starts[n + 1] - 1);
  };
}

const ids = lines(data.ids);
const titles = lines(data.titles);
const copies = data.copies ? lines(data.copies) : () => "";
const ndcg = numbers(data.ndcg);
const groups = Object.fromEntries(
  Object.entries(data.groups).map(([name, { names, of }]) => [name, { names, of: new Uint32Array(bytes(of)) }]),
);
const groupOf = (name, n) => groups[name].names[groups[name].of[n]];

/** The numbers of videos for which a condition holds. */
function where(holds) {
  const found = new Uint32Array(data.count);
  let count = 0;
  for (let n = 0; n < data.count; n++) if (holds(n)) found[count++] = n;
  return found.slice(0, count);
}

/** The numbers of the videos of each group that have a position, in one pass. */
function members({ names, of }, x) {
  const counts = new Uint32Array(names.length);
  for (let n = 0; n < data.count; n++) if (x[n] === x[n]) counts[of[n]]++;
  const found = names.map((_, group) => new Uint32Array(counts[group]));
  counts.fill(0);
  for (let n = 0; n < data.count; n++) if (x[n] === x[n]) found[of[n]][counts[of[n]]++] = n;
  return found;
}

function picked(values, places) {
  const out = new Float32Array(places.length);
  for (let n = 0; n < places.length; n++) out[n] = values[places[n]];
  return out;
}

function traces() {
  const [x, y, z] = positions();
  const by = at("colour").value;
  const size = data.count > 200_000 ? 2 : data.count > 5000 ? 4 : data.count > 800 ? 6 : 10;
  const marker = z ? { size: Math.max(2, size / 2), opacity: 1 } : { size, opacity: 0.85 };
  const type = z ? "scatter3d" : many ? "scattergl" : "scatter";
  const trace = (places, name, colour) => ({
    type, mode: "markers", name, hoverinfo: "none", customdata: places, marker: { ...marker, ...colour },
    x: picked(x, places), y: picked(y, places), ...(z && { z: picked(z, places) }),
  });
  if (by === NDCG) {
    const asked = where((n) => ndcg[n] === ndcg[n] && x[n] === x[n]);
    return [trace(asked, "", { color: picked(ndcg, asked), cmin: 0, cmax: 1, colorscale: "Viridis", showscale: true })];
  }
  const found = members(groups[by], x);
  const order = groups[by].names.map((name, group) => [name, found[group]]).filter(([, places]) => places.length);
  order.sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }));
  return order.map(([name, places], n) => trace(places, name, { color: data.colours[n % data.colours.length] }));
}

function positions() {
  return data.spaces[at("axes").value][at("space").value].map(numbers);
}

function names() {
  if (at("colour").value !== CLUSTER || at("axes").value === THREE) return [];
  const [x, y] = positions();
  const middle = (values) => values.sort()[Math.floor(values.length / 2)];
  return members(groups[CLUSTER], x).flatMap((places, group) => places.length ? [{
    text: groups[CLUSTER].names[group], x: middle(picked(x, places)), y: middle(picked(y, places)), showarrow: false, yshift: 26,
    bgcolor: dark.matches ? "rgba(16,16,20,.7)" : "rgba(255,255,255,.75)", borderpad: 3,
  }] : []);
}

function draw() {
  const ink = dark.matches ? "#f2f1ef" : "#1b1b1f";
  const axis = { visible: false, zeroline: false };
  const layout = {
    annotations: names(), scene: { xaxis: axis, yaxis: axis, zaxis: axis, dragmode: "orbit" }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, family: "system-ui, sans-serif" },
    margin: { l: 24, r: 24, t: 24, b: 24 }, xaxis: axis, yaxis: { ...axis, scaleanchor: "x" }, hovermode: "closest",
    dragmode: "pan", legend: { itemsizing: "constant" }, showlegend: at("colour").value !== NDCG,
  };
  const options = { responsive: true, scrollZoom: true, displaylogo: false, modeBarButtonsToRemove: ["autoScale2d"] };
  return Plotly.react("map", traces(), layout, options);
}

function described(n, tag) {
  const box = document.createElement(tag);
  if (data.posters[n]) {
    const image = document.createElement("img");
    Object.assign(image, { src: data.posters[n], alt: "" });
    box.append(image);
  }
  const words = document.createElement("div");
  const name = document.createElement("strong");
  const kind = document.createElement("p");
  name.textContent = titles(n) || ids(n);
  const copied = copies(n) && ` · like ${copies(n)}`;
  kind.textContent = groupOf("category", n) + (groups.split ? ` · ${groupOf("split", n)}` : "") + copied;
  words.append(name, kind);
  box.append(words);
  return box;
}

function hovered({ points }) {
  const near = at("near");
  near.replaceChildren(...described(points[0].customdata, "div").childNodes);
  near.hidden = false;
  near.style.left = `${Math.min(mouse.x + 16, innerWidth - 330)}px`;
  near.style.top = `${Math.min(mouse.y + 16, innerHeight - 110)}px`;
}

function selected(event) {
  list((event?.points ?? []).map((point) => point.customdata), "selected");
}

function marked(group) {
  at("colour").value = group;
  draw();
  list([...where((n) => groupOf(group, n) === "yes")], group);
}

function list(chosen, of) {
  const box = at("chosen");
  box.hidden = of === "selected" && !chosen.length;
  const title = document.createElement("p");
  title.textContent = of === "selected" ? `${chosen.length} videos selected` : `${of}: ${chosen.length} videos`;
  const save = document.createElement("button");
  save.textContent = "Save as CSV";
  save.addEventListener("click", () => saveAs(chosen));
  const rows = document.createElement("ul");
  rows.append(...chosen.slice(0, 500).map((n) => described(n, "li")));
  box.replaceChildren(title, ...(chosen.length ? [save, rows] : []));
  Plotly.Plots.resize("map");
}

function saveAs(chosen) {
  const cell = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const known = (n) => (Number.isNaN(ndcg[n]) ? "" : Number(ndcg[n].toFixed(4)));
  const columns = {
    category: (n) => groupOf("category", n), ...(groups.split && { split: (n) => groupOf("split", n) }),
    copy_of: copies, ndcg: known, title: titles,
  };
  const there = Object.entries(columns);
  const rows = chosen.map((n) => [ids(n), ...there.map(([, value]) => value(n))].map(cell).join(","));
  const heads = ["video_id", ...there.map(([name]) => name)].join(",");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([[heads, ...rows].join("\n")], { type: "text/csv" }));
  link.download = "videos.csv";
  link.click();
}

fill(at("space"), Object.keys(data.spaces["2-D"]));
fill(at("axes"), Object.keys(data.spaces).filter((axes) => Object.keys(data.spaces[axes]).length));
fill(at("colour"), [...Object.keys(groups), NDCG]);
for (const button of document.querySelectorAll("button[data-group]")) {
  button.hidden = !groups[button.dataset.group];
  button.addEventListener("click", () => marked(button.dataset.group));
}
dark.addEventListener("change", draw);
at("map").addEventListener("mousemove", (event) => Object.assign(mouse, { x: event.clientX, y: event.clientY }), true);
draw().then((map) => {
  map.on("plotly_hover", hovered);
  map.on("plotly_unhover", () => (at("near").hidden = true));
  map.on("plotly_selected", selected);
  map.on("plotly_deselect", () => selected(null));
});
