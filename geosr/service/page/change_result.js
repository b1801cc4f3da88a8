// Finished jobs of change: their layer on the map, and their legend with hectares.

import { ask } from "/page/api.js";
import { element } from "/page/dom.js";
import { state } from "/page/state.js";

// Of a decrease and of an increase: as in the map of classes, and in words.
const COLOURS = ["rgb(196 60 40)", "rgb(30 90 200)"];
const MEANINGS = {
  ndwi: ["less water", "more water"],
  ndvi: ["less vegetation", "more vegetation"],
  nbr: ["burned", "regrown"],
  ndbi: ["less built-up or bare", "more built-up or bare"],
};

const found = new Map();

// The job of change that a side's choice stands for; undefined for any other choice.
export function changeJobOf(choice) {
  const [kind, id] = choice.split(".");
  const job = kind === "product" ? state.products.get(id) : undefined;
  return job?.process === "change" ? job : undefined;
}

async function once(path) {
  if (!found.has(path)) found.set(path, await ask(path));
  return found.get(path);
}

export async function changeLayer({ id }, side_px) {
  const { bounds } = await once(`/jobs/${id}/map/WebMercatorQuad/tilejson.json?output=map`);
  return {
    url: `${location.origin}/jobs/${id}/map/tiles/WebMercatorQuad/{z}/{x}/{y}.png?output=map&tilesize=${side_px}`,
    bounds,
    // Further out it would be smaller than the service draws it.
    minzoom: Math.max(0, Math.ceil(Math.log2((360 * 40) / (256 * (bounds[2] - bounds[0]))))),
    maxzoom: 20,
    opacity: 1,
  };
}

export async function changeLegend({ id }) {
  const { index, fine } = await once(`/jobs/${id}/files/change_change.json`);
  const rows = [fine.less, fine.more].map((total, i) => {
    const mark = element("span", { className: "swatch" });
    mark.style.background = COLOURS[i];
    const hectares = total.areas ? `${total.hectares.toFixed(2)} ha (${total.low_hectares.toFixed(2)} to ${total.high_hectares.toFixed(2)})` : "none";
    return element("div", {}, mark, ` ${MEANINGS[index][i]}: ${hectares}`);
  });
  return element("div", {}, `Change of ${index.toUpperCase()}`, ...rows);
}
