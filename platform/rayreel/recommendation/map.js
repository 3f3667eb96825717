"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
// WebGL draws a hundred thousand points smoothly; fewer need none, and some browsers have none.
const many = data.ids.length > 3000;
const NDCG = "nDCG@10";
const CLUSTER = "cluster";
const THREE = "3-D";
// Plotly passes no mouse position in three dimensions.
const mouse = { x: 0, y: 0 };

function fill(select, names) {
  for (const name of names) select.add(new Option(name, name));
  select.addEventListener("change", draw);
}

function traces() {
  const [x, y, z] = positions();
  const by = at("colour").value;
  const size = data.ids.length > 5000 ? 4 : data.ids.length > 800 ? 6 : 10;
  const marker = z ? { size: Math.max(2, size / 2), opacity: 1 } : { size, opacity: 0.85 };
  const type = z ? "scatter3d" : many ? "scattergl" : "scatter";
  const all = data.ids.map((_, n) => n).filter((n) => x[n] !== null);
  const trace = (places, name, colour) => ({
    type, mode: "markers", name, hoverinfo: "none", customdata: places, marker: { ...marker, ...colour },
    x: places.map((n) => x[n]), y: places.map((n) => y[n]), ...(z && { z: places.map((n) => z[n]) }),
  });
  if (by === NDCG) {
    const asked = all.filter((n) => data.ndcg[n] !== null);
    const color = asked.map((n) => data.ndcg[n]);
    return [trace(asked, "", { color, cmin: 0, cmax: 1, colorscale: "Viridis", showscale: true })];
  }
  const groups = Map.groupBy(all, (n) => data.groups[by][n]);
  const names = [...groups.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  return names.map((name, n) => trace(groups.get(name), name, { color: data.colours[n % data.colours.length] }));
}

function positions() {
  return data.spaces[at("axes").value][at("space").value];
}

function names() {
  if (at("colour").value !== CLUSTER || at("axes").value === THREE) return [];
  const [x, y] = positions();
  const clusters = Map.groupBy([...data.ids.keys()].filter((n) => x[n] !== null), (n) => data.groups[CLUSTER][n]);
  const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  return [...clusters].map(([text, places]) => ({
    text, x: middle(places.map((n) => x[n])), y: middle(places.map((n) => y[n])), showarrow: false, yshift: 26,
    bgcolor: dark.matches ? "rgba(16,16,20,.7)" : "rgba(255,255,255,.75)", borderpad: 3,
  }));
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
  name.textContent = data.titles[n] || data.ids[n];
  const copied = data.copies[n] && ` · like ${data.copies[n]}`;
  kind.textContent = data.groups.category[n] + (data.groups.split ? ` · ${data.groups.split[n]}` : "") + copied;
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
  list([...data.ids.keys()].filter((n) => data.groups[group][n] === "yes"), group);
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
  const columns = { category: data.groups.category, split: data.groups.split, copy_of: data.copies, ndcg: data.ndcg, title: data.titles };
  const there = Object.entries(columns).filter(([, values]) => values);
  const lines = chosen.map((n) => [data.ids[n], ...there.map(([, values]) => values[n] ?? "")].map(cell).join(","));
  const heads = ["video_id", ...there.map(([name]) => name)].join(",");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([[heads, ...lines].join("\n")], { type: "text/csv" }));
  link.download = "videos.csv";
  link.click();
}

fill(at("space"), Object.keys(data.spaces["2-D"]));
fill(at("axes"), Object.keys(data.spaces).filter((axes) => Object.keys(data.spaces[axes]).length));
fill(at("colour"), [...Object.keys(data.groups), NDCG]);
for (const button of document.querySelectorAll("button[data-group]")) {
  button.hidden = !data.groups[button.dataset.group];
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
