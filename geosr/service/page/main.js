// The page: its parts put together. What is shown follows from one state, which the address keeps.

import { ask, key, offline, Refused } from "/page/api.js";
import { element, field, options, say } from "/page/dom.js";
import { draw } from "/page/drawing.js";
import { Fields, isVector } from "/page/fields.js";
import { Find, listenForDrops, sceneOfItem, upload } from "/page/find.js";
import { Inspect } from "/page/inspect.js";
import { Jobs } from "/page/jobs.js";
import { boundsOfProduct, inTime, isChoice } from "/page/layers.js";
import { Look } from "/page/look.js";
import { openMaps } from "/page/maps.js";
import { Order } from "/page/order.js";
import { copyLink, share, takePicture } from "/page/share.js";
import { keep, kept, state } from "/page/state.js";

const maps = openMaps((error) => {
  if (error?.name === "AbortError") return;
  if (error?.status === 401) needKey(error.message);
  else if (error?.status) say(`A tile could not be shown (${error.status}).`);
  else offline();
});
const inspect = new Inspect(maps);
const order = new Order(maps);
const fields = new Fields(maps);
const look = new Look(maps, working);
const jobs = new Jobs(maps, { show: (job, button) => attempt(() => showProduct(job), button), changed: productsChanged });
let find = null;
window.geosr = { maps, state };

async function attempt(work, button) {
  if (button) button.disabled = true;
  try {
    say(null);
    return await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) needKey(error.message);
    else say(error.message);
    return null;
  } finally {
    if (button) button.disabled = false;
  }
}

function needKey(message) {
  field("key-form").hidden = false;
  say(message);
  field("key").focus();
}

// Of a phone's parts below the map, one is shown.
function openTab(name) {
  document.body.dataset.tab = name;
  for (const button of field("tabs").children) {
    if (button.dataset.tab === name) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

async function start() {
  const about = await attempt(() => ask("/about"));
  await maps.ready;
  state.offersChange = Boolean(about?.change);
  find = new Find(maps, { about, open: (item, button) => attempt(() => sceneOfItem(item).then(added), button), compare: (item, button) => attempt(() => compareWith(item), button) });
  if (about?.basemap) {
    maps.basemap(about.basemap);
    field("credits").textContent += `; ${about.basemap.credits}`;
  }
  if (about?.keys && !key.get()) return needKey("This service needs an API key.");
  await load();
}

async function load() {
  const answer = await attempt(() => ask("/scenes"));
  if (!answer) return;
  field("key-form").hidden = true;
  state.scenes = answer.scenes;
  listScenes();
  await jobs.begin(attempt);
  await attempt(() => fields.list());
  const before = kept();
  if (state.scenes.length) await choose(before.scene ?? state.scenes[0].id, before);
  else {
    field("empty").hidden = false;
    field("stage").dataset.scene = "";
    openTab("find");
  }
}

function listScenes() {
  field("scene").replaceChildren(...options(state.scenes.map((one) => [one.id, one.title]), state.scene?.id));
}

async function choose(id, before = {}) {
  const known = state.scenes.some((one) => one.id === id) ? id : state.scenes[0].id;
  const scene = await attempt(() => ask(`/scenes/${known}`));
  if (!scene) return;
  field("empty").hidden = true;
  Object.assign(state, { scene, left: before.left, right: before.right, bands: before.bands ?? state.bands, rescale: before.rescale ?? null });
  if (before.sharpness) state.sharpness = before.sharpness;
  for (const name of ["opacity", "swipe"]) if (typeof before[name] === "number") state[name] = before[name];
  field("scene").value = scene.id;
  field("remove-scene").hidden = scene.kind === "demo";
  showFacts(scene);
  inspect.clear();
  find.leave();
  if (before.at) maps.go(before.at);
  else if (!before.stay) maps.look(scene.bbox);
  maps.swipe(state.swipe);
  order.setBox(null);
  showLook();
  field("stage").dataset.scene = scene.id;
}

// Lists, layers, marks and the address follow the state.
function showLook() {
  look.list();
  field("order-sharpness").value = state.sharpness;
  order.show();
  keep(maps.view());
  return attempt(() => look.show());
}

function showFacts(scene) {
  const facts = {
    Time: scene.datetime ? scene.datetime.replace("T", " ").slice(0, 16) : null,
    Pixels: `${scene.size_px.join(" × ")}, ${scene.gsd_m ? `${scene.gsd_m} m` : "degrees"}`,
    CRS: scene.crs,
    Model: `${scene.model}, ×${scene.scale}`,
    "Effective resolution": scene.effective_resolution,
    Note: scene.notes.join("; ") || null,
  };
  const rows = Object.entries(facts).filter(([, value]) => value);
  field("facts").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]));
}

function remember(scene) {
  state.scenes = [scene, ...state.scenes.filter((one) => one.id !== scene.id)];
  listScenes();
}

async function added(scene) {
  remember(scene);
  await choose(scene.id);
  openTab("look");
}

// Another date beside the scene, as fine, the earlier one at the left; the view stays.
async function compareWith(item) {
  const other = await sceneOfItem(item);
  if (!state.scene || other.id === state.scene.id) return added(other);
  remember(other);
  if (!isChoice(`sr.${other.id}`)) throw new Refused("This scene does not meet the one that is shown: show it alone.", 400);
  const [before, after] = inTime(other, state.scene);
  Object.assign(state, { left: `sr.${before.id}`, right: `sr.${after.id}` });
  await showLook();
  find.leave();
  maps.look(state.scene.bbox);
  openTab("look");
}

// A result that is shown and is no more gives way on the map.
async function productsChanged() {
  if (!state.scene) return;
  const shown = [state.left, state.right].join();
  look.list();
  await ([state.left, state.right].join() === shown ? attempt(() => look.tell()) : showLook());
}

async function showProduct(job) {
  const id = job.inputs.scene ?? job.inputs.after;
  if (id && id !== state.scene?.id && state.scenes.some((one) => one.id === id)) await choose(id, { stay: true });
  if (!state.scene) throw new Refused("There is no scene to show it beside: search for one, or upload it.", 400);
  state.right = `product.${job.jobID}`;
  await showLook();
  maps.look(await boundsOfProduct(job.jobID));
}

// From what is chosen, before any tile is asked for, until all is drawn.
function working(busy) {
  if (!maps.drawn) return;
  field("working").hidden = !busy;
  field("stage").setAttribute("aria-busy", String(busy));
}

const inspectPlace = (place) => state.scene && attempt(() => inspect.pixel(place));

function plotField(number) {
  openTab("look");
  return attempt(() => fields.plot(Number(number)));
}

function take(file) {
  return isVector(file) ? fields.upload(file) : upload(file).then(added);
}

// A field is plotted; in the scene its pixels are looked at; elsewhere a footprint is that of a scene that was found.
function clicked(place, footprints, outlines) {
  if (outlines.length) return plotField(outlines[0].properties.number);
  const [west, south, east, north] = state.scene?.bbox ?? [0, 0, 0, 0];
  const inside = west <= place.lng && place.lng <= east && south <= place.lat && place.lat <= north;
  if (!inside && footprints.length) {
    openTab("find");
    return find.choose(footprints[0].properties.id);
  }
  return inspectPlace(place);
}

maps.listen({
  clicked,
  moved: () => keep(maps.view()),
  slid: (percent) => {
    state.swipe = Math.round(percent);
    field("swipe").value = state.swipe;
    keep(maps.view());
  },
  working,
});

// Only one thing is drawn at a time.
let stopDrawing = null;
function drawBy(button, kind, done) {
  button.addEventListener("click", () => {
    const same = button.getAttribute("aria-pressed") === "true";
    stopDrawing?.();
    if (same) return;
    button.setAttribute("aria-pressed", "true");
    stopDrawing = draw(maps, kind, (shape) => {
      stopDrawing = null;
      button.setAttribute("aria-pressed", "false");
      if (shape) done(shape);
    });
  });
}
drawBy(field("draw"), "box", (box) => order.setBox(box));
drawBy(field("draw-line"), "line", (line) => attempt(() => inspect.profile(line)));

const on = (id, event, act) => field(id).addEventListener(event, act);
const onSubmit = (id, act) =>
  on(id, "submit", (event) => {
    event.preventDefault();
    attempt(act, event.submitter);
  });

for (const name of ["left", "right", "bands", "sharpness"]) {
  on(name, "change", (event) => {
    state[name] = event.target.value;
    // Limits of other bands would be wrong ones.
    if (name === "bands") state.rescale = null;
    showLook();
  });
}
on("swap", "click", () => {
  [state.left, state.right] = [state.right, state.left];
  showLook();
});
on("stretch", "change", (event) => attempt(() => look.stretch(event.target.value).then(() => keep(maps.view()))));
on("opacity", "input", (event) => {
  state.opacity = Number(event.target.value);
  showLook();
});
on("swipe", "input", (event) => {
  state.swipe = Number(event.target.value);
  maps.swipe(state.swipe);
  keep(maps.view());
});
on("scene", "change", (event) => choose(event.target.value));
on("remove-scene", "click", (event) =>
  attempt(async () => {
    await ask(`/scenes/${state.scene.id}`, { method: "DELETE" });
    state.scenes = state.scenes.filter((one) => one.id !== state.scene.id);
    state.scene = null;
    listScenes();
    history.replaceState(null, "", "#");
    await load();
  }, event.target),
);
on("clouds", "input", (event) => (field("clouds-value").textContent = event.target.value));
on("inspect-middle", "click", () => state.scene && inspectPlace(maps.middle()));
on("box", "change", () => attempt(async () => order.takeBox()));
on("whole", "click", () => order.setBox(null));
for (const name of ["order-sharpness", "order-what"]) on(name, "input", () => order.show());
on("to-change", "click", () => {
  openTab("order");
  order.chooseChange();
});
on("dismiss", "click", () => say(null));
on("share", "click", () => state.scene && attempt(share));
on("copy-link", "click", copyLink);
on("picture", "click", (event) => state.scene && attempt(() => takePicture(maps), event.target));
on("tabs", "click", (event) => event.target.dataset.tab && openTab(event.target.dataset.tab));

on("key-form", "submit", (event) => {
  event.preventDefault();
  key.set(field("key").value.trim());
  load();
});
onSubmit("search-form", () => {
  openTab("find");
  return find.search();
});
onSubmit("upload-form", () => take(field("file").files[0]));
onSubmit("line-form", () => inspect.profile(inspect.typed()));
onSubmit("order-form", async () => {
  await jobs.order(order.wanted());
  openTab("results");
});
listenForDrops((file) => attempt(() => take(file)));
on("fields", "change", (event) => attempt(() => fields.open(event.target.value)));
on("remove-fields", "click", (event) => attempt(() => fields.remove(), event.target));
for (const name of ["field", "field-index"]) on(name, "change", () => field("field").value !== "" && plotField(field("field").value));
window.addEventListener("answers-again", () => (state.scene ? showLook() : load()));
window.addEventListener("hashchange", () => {
  const before = kept();
  if (state.scenes.length) choose(before.scene ?? state.scene?.id, before);
});

const today = new Date();
field("to").value = today.toISOString().slice(0, 10);
field("from").value = new Date(today - 60 * 86400e3).toISOString().slice(0, 10);
start();
