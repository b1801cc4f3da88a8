// Layers of the map: what a side's choice stands for, as `sr.ID`, `dates.ID.OTHER~OTHER`,
// `change.ID.EARLIER` or `product.JOB`.

import { ask } from "/page/api.js";
import { changeJobOf, changeLayer } from "/page/change_result.js";
import { state } from "/page/state.js";

const RETINA = window.devicePixelRatio > 1 ? 2 : 1;
const MOST_OTHERS = 7;
const known = new Map();

// A scene in full, asked for once.
export async function sceneOf(id) {
  if (state.scene?.id === id) return state.scene;
  if (!known.has(id)) known.set(id, await ask(`/scenes/${id}`));
  return known.get(id);
}

export const dateOf = (scene) => scene.datetime?.slice(0, 10) ?? scene.title;

// Choices of a scene corrected by others of its place, `dates.SCENE.OTHER~OTHER`: by the nearest in time, and what is
// shown already as long as all its scenes are there.
function severalDates(scene) {
  if (!scene.several_dates) return [];
  const apart = (other) => Math.abs(Date.parse(other.datetime ?? 0) - Date.parse(scene.datetime ?? 0));
  const others = state.scenes.filter((other) => other.id !== scene.id && other.several_dates && meets(other, scene));
  const nearest = others.sort((a, b) => apart(a) - apart(b)).slice(0, MOST_OTHERS);
  const offered = nearest.length ? [`dates.${scene.id}.${nearest.map((other) => other.id).sort().join("~")}`] : [];
  const shown = [state.left, state.right].filter((choice) => choice?.startsWith(`dates.${scene.id}.`) && othersOf(choice).every((id) => others.some((other) => other.id === id)));
  return [...new Set([...offered, ...shown])].map((choice) => [choice, `Several dates (${othersOf(choice).length + 1})`]);
}

export const othersOf = (choice) => choice.split(".")[2].split("~");

const meets = (a, b) => a.bbox[0] < b.bbox[2] && b.bbox[0] < a.bbox[2] && a.bbox[1] < b.bbox[3] && b.bbox[1] < a.bbox[3];

// What can be shown on a side: groups of [choice, title].
export function choices() {
  const { scene } = state;
  if (!scene) return [];
  const own = [[`original.${scene.id}`, "Original"], [`sr.${scene.id}`, "Super-resolved"]];
  if (scene.uncertainty) own.push([`uncertainty.${scene.id}`, "Uncertainty"]);
  own.push(...severalDates(scene));
  const groups = [[`${dateOf(scene)} (this scene)`, own]];
  for (const other of state.scenes) {
    if (other.id === scene.id || !meets(other, scene)) continue;
    groups.push([
      `${dateOf(other)}, ${other.title}`,
      [
        [`original.${other.id}`, `Original, ${dateOf(other)}`],
        [`sr.${other.id}`, `Super-resolved, ${dateOf(other)}`],
        changeBetween(scene, other),
      ],
    ]);
  }
  const products = [...state.products.values()].filter(({ id, inputs }) => [inputs.scene, inputs.before, inputs.after].includes(scene.id) || id === productShown());
  if (products.length) groups.push(["Results", products.map((job) => [`product.${job.id}`, `Result: ${job.title}`])]);
  return groups;
}

function productShown() {
  const shown = [state.left, state.right].find((choice) => choice?.startsWith("product."));
  return shown?.split(".")[1];
}

// Scenes, the earlier one first; those without a time come before all others.
export const inTime = (...scenes) => scenes.sort((a, b) => (a.datetime ?? "").localeCompare(b.datetime ?? ""));

// The later one minus the earlier one.
function changeBetween(a, b) {
  const [before, after] = inTime(a, b);
  return [`change.${after.id}.${before.id}`, `Change ${dateOf(before)} to ${dateOf(after)}`];
}

// The two scenes whose change can be ordered, for the sides compare them, the earlier one first; null where there is none.
export function datesOfChange() {
  const shown = [state.left, state.right].flatMap((choice) => {
    const [kind, ...ids] = choice?.split(".") ?? [];
    return kind === "product" ? [] : ids;
  });
  const scenes = [...new Set(shown)].map((id) => state.scenes.find((one) => one.id === id)).filter(Boolean);
  if (scenes.length !== 2 || !state.offersChange) return null;
  return inTime(...scenes);
}

export const isChoice = (choice) => choices().some(([, entries]) => entries.some(([value]) => value === choice));

export function titleOf(choice) {
  for (const [, entries] of choices()) for (const [value, title] of entries) if (value === choice) return title;
  return "";
}

// The layers of a choice, the lowest first.
export async function layersOf(choice) {
  const [kind, id, since] = choice.split(".");
  const change = changeJobOf(choice);
  if (kind === "product" && !change) return [await productLayer(id)];
  if (change) {
    const { after } = change.inputs;
    const map = { ...(await changeLayer(change, 256 * RETINA)), opacity: state.opacity / 100 };
    // The map is there for longer than the scenes that it was made of.
    return state.scenes.some((one) => one.id === after) ? [...(await layersOf(`original.${after}`)), map] : [map];
  }
  const scene = await sceneOf(id);
  const layer = (name, more = {}) => tiles(scene, { layer: name, bands: state.bands, ...more });
  const colours = { rescale: rescaleFor(scene) };
  if (kind === "original") return [layer("original", colours)];
  if (kind === "sr") return [layer("sr", { ...colours, ...(state.sharpness !== "0" && scene.visual && { sharpness: state.sharpness }) })];
  if (kind === "dates") return [layer("dates", { ...colours, others: othersOf(choice).join(",") })];
  const above = kind === "change" ? layer("change", { since }) : layer("uncertainty");
  return [layer("original", colours), { ...above, opacity: state.opacity / 100 }];
}

export function tiles(scene, query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const asked = new URLSearchParams([...given, ["scale", RETINA]]);
  const { first, super_resolved: fine } = scene.zooms;
  return {
    url: `${location.origin}/scenes/${scene.id}/tiles/{z}/{x}/{y}?${asked}`,
    bounds: scene.bbox,
    minzoom: query.layer === "uncertainty" ? Math.max(first, fine - 1) : first,
    // Finer than a few tile pixels for each of the product's, there is nothing to see.
    maxzoom: fine + 4,
    opacity: 1,
  };
}

export const combination = () => state.scene?.combinations.find((one) => one.name === state.bands);

export const bandsShown = () => combination()?.bands ?? state.bands.split(",");

// Two dates have one stretch, so that a difference in colour is one on the ground.
function rescaleFor(scene) {
  if (state.rescale) return state.rescale;
  if (scene.id === state.scene.id || combination()?.index) return null;
  return limits().map((pair) => pair.join(",")).join(",");
}

const limits = () => bandsShown().map((name) => state.scene.limits[name]);

async function productLayer(id) {
  if (!known.has(id)) known.set(id, await ask(`/collections/results/items/${id}`));
  const item = known.get(id);
  const bands = item.assets.data.bands;
  const numbers = bandsShown().map((name) => bands.findIndex((band) => band.name === name) + 1);
  const query = new URLSearchParams();
  const linear = numbers.map((number) => [bands[number - 1]?.["raster:scale"] ?? 1, bands[number - 1]?.["raster:offset"] ?? 0]);
  if (combination()?.index) {
    const [a, b] = numbers;
    const twice = (2 * linear[0][1]) / linear[0][0];
    query.set("expression", `(b${a}-b${b})/(b${a}+b${b}${twice ? `${twice > 0 ? "+" : ""}${twice}` : ""})`);
    query.set("rescale", "-1,1");
    query.set("colormap_name", state.bands === "ndvi" ? "rdylgn" : "rdylbu");
  } else {
    for (const number of numbers) query.append("bidx", number);
    const flat = state.rescale?.split(",").map(Number);
    const pairs = flat ? numbers.map((_, i) => flat.slice((2 * i) % flat.length, ((2 * i) % flat.length) + 2)) : limits();
    pairs.forEach((pair, i) => query.append("rescale", pair.map((value) => (value - linear[i][1]) / linear[i][0]).join(",")));
    query.set("color_formula", `gamma ${numbers.length === 1 ? "R" : "RGB"} 1.8`);
  }
  query.set("tilesize", 256 * RETINA);
  return {
    url: `${location.origin}/jobs/${id}/map/tiles/WebMercatorQuad/{z}/{x}/{y}.png?${query}`,
    bounds: item.bbox,
    // Further out it would be smaller than the service draws it.
    minzoom: Math.max(0, Math.ceil(Math.log2((360 * 40) / (256 * (item.bbox[2] - item.bbox[0]))))),
    maxzoom: 20,
    opacity: 1,
  };
}

export async function boundsOfProduct(id) {
  const change = changeJobOf(`product.${id}`);
  return (await (change ? changeLayer(change) : productLayer(id))).bounds;
}
