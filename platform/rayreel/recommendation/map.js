"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
// WebGL draws a hundred thousand points smoothly; fewer need none, and some browsers have none.
const many = data.ids.length > 3000;
const AGREEMENT = "neighbours of the same category";

function fill(select, names) {
  for (const name of names) select.add(new Option(name, name));
  select.addEventListener("change", draw);
}

function traces() {
  const [x, y] = data.spaces[at("space").value];
  const by = at("colour").value;
  const marker = { size: data.ids.length > 5000 ? 4 : data.ids.length > 800 ? 6 : 10, opacity: 0.85 };
  const all = data.ids.map((_, n) => n).filter((n) => x[n] !== null);
  const trace = (places, name, colour) => ({
    type: many ? "scattergl" : "scatter", mode: "markers", name, hoverinfo: "none", customdata: places,
    x: places.map((n) => x[n]), y: places.map((n) => y[n]), marker: { ...marker, ...colour },
  });
  if (by === AGREEMENT) {
    const color = all.map((n) => data.agreement[n] ?? 0);
    return [trace(all, "", { color, cmin: 0, cmax: 1, colorscale: "Viridis", showscale: true })];
  }
  const groups = Map.groupBy(all, (n) => data.groups[by][n]);
  const names = [...groups.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  return names.map((name, n) => trace(groups.get(name), name, { color: data.colours[n % data.colours.length] }));
}

function draw() {
  const ink = dark.matches ? "#f2f1ef" : "#1b1b1f";
  const axis = { visible: false, zeroline: false };
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, family: "system-ui, sans-serif" },
    margin: { l: 24, r: 24, t: 24, b: 24 }, xaxis: axis, yaxis: { ...axis, scaleanchor: "x" }, hovermode: "closest",
    dragmode: "pan", legend: { itemsizing: "constant" }, showlegend: at("colour").value !== AGREEMENT,
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
  kind.textContent = data.groups.category[n];
  words.append(name, kind);
  box.append(words);
  return box;
}

function hovered({ points, event }) {
  const near = at("near");
  near.replaceChildren(...described(points[0].customdata, "div").childNodes);
  near.hidden = false;
  near.style.left = `${Math.min(event.clientX + 16, innerWidth - 330)}px`;
  near.style.top = `${Math.min(event.clientY + 16, innerHeight - 110)}px`;
}

function selected(event) {
  const chosen = (event?.points ?? []).map((point) => point.customdata);
  const box = at("chosen");
  box.hidden = !chosen.length;
  const title = document.createElement("p");
  title.textContent = `${chosen.length} videos selected`;
  const save = document.createElement("button");
  save.textContent = "Save as CSV";
  save.addEventListener("click", () => saveAs(chosen));
  const list = document.createElement("ul");
  list.append(...chosen.slice(0, 500).map((n) => described(n, "li")));
  box.replaceChildren(title, save, list);
  Plotly.Plots.resize("map");
}

function saveAs(chosen) {
  const cell = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const lines = chosen.map((n) => [data.ids[n], data.groups.category[n], data.titles[n]].map(cell).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([["video_id,category,title", ...lines].join("\n")], { type: "text/csv" }));
  link.download = "videos.csv";
  link.click();
}

fill(at("space"), Object.keys(data.spaces));
fill(at("colour"), [...Object.keys(data.groups), AGREEMENT]);
dark.addEventListener("change", draw);
draw().then((map) => {
  map.on("plotly_hover", hovered);
  map.on("plotly_unhover", () => (at("near").hidden = true));
  map.on("plotly_selected", selected);
  map.on("plotly_deselect", () => selected(null));
});
