// The page: what is shown follows from one state, which the address keeps.

import { ask, key, Refused } from "/page/api.js";
import { element, field, say } from "/page/dom.js";
import { Jobs } from "/page/jobs.js";
import { openMaps, polygon } from "/page/maps.js";
import { showPixel } from "/page/pixel.js";
import { addScene, listFound, upload } from "/page/scenes.js";

const state = { scenes: [], scene: null, bands: null, box: null };

const maps = openMaps((error) => {
  if (error?.name === "AbortError") return;
  if (error?.status === 401 || error?.status === 403) return needKey(error.message);
  say(error?.status ? `A tile could not be shown (${error.status}).` : error?.message);
});
const jobs = new Jobs(maps);
window.geosr = { maps, state };

async function attempt(work, button) {
  if (button) button.disabled = true;
  try {
    say(null);
    return await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401 || error.status === 403) needKey(error.message);
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

async function start() {
  const about = await attempt(() => ask("/about"));
  await maps.ready;
  if (about?.keys && !key.get()) return needKey("This service needs an API key.");
  await load();
}

async function load() {
  const answer = await attempt(() => ask("/scenes"));
  if (!answer) return;
  field("key-form").hidden = true;
  state.scenes = answer.scenes;
  const kept = new URLSearchParams(location.hash.slice(1));
  listScenes();
  if (state.scenes.length === 0) {
    field("empty").hidden = false;
    field("find-section").open = true;
    field("find-section").scrollIntoView();
    field("stage").dataset.scene = "";
  } else await choose(kept.get("scene") ?? state.scenes[0].id, kept);
  jobs.begin(attempt);
}

function listScenes() {
  field("scene").replaceChildren(...state.scenes.map((one) => element("option", { value: one.id, textContent: one.title })));
}

async function choose(id, kept = null) {
  const known = state.scenes.some((one) => one.id === id) ? id : state.scenes[0].id;
  const scene = await attempt(() => ask(`/scenes/${known}`));
  if (!scene) return;
  field("empty").hidden = true;
  state.scene = scene;
  field("scene").value = scene.id;
  const wanted = kept?.get("bands");
  state.bands = wanted && bandChoices(scene).some(([name]) => name === wanted) ? wanted : scene.default_bands;
  showFacts(scene);
  showBands(scene);
  working(true);
  maps.show(scene, state.bands);
  const view = kept?.get("at")?.split("/").map(Number);
  if (view?.length === 3 && view.every(Number.isFinite)) maps.go(view);
  else maps.look(scene.bbox);
  setBox(null);
  showUncertainty();
  showSharpness();
  field("stage").dataset.scene = scene.id;
  keep();
}

function keep() {
  if (!state.scene) return;
  const at = maps.view();
  history.replaceState(null, "", `#${new URLSearchParams({ scene: state.scene.id, bands: state.bands, ...(at && { at }) })}`);
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
  field("mark").textContent = `${scene.detail}.`;
}

function bandChoices(scene) {
  const named = scene.combinations.map((one) => [one.name, one.title]);
  return [...named, ...scene.bands.map((band) => [band.name, `${band.name}, grey`])];
}

function showBands(scene) {
  const choices = bandChoices(scene).map(([name, title]) => {
    const input = element("input", { type: "radio", name: "bands", value: name, checked: name === state.bands });
    input.addEventListener("change", () => {
      state.bands = name;
      working(true);
      maps.show(scene, name);
      showUncertainty();
      showIndex(scene);
      keep();
    });
    return element("label", {}, input, ` ${title}`);
  });
  field("bands").replaceChildren(...choices);
  showIndex(scene);
}

function showIndex(scene) {
  const shown = scene.combinations.find((one) => one.name === state.bands);
  legend(field("index-legend"), shown?.legend, "−1", "1", shown?.title ?? "");
}

function showUncertainty() {
  const scene = state.scene;
  if (!scene) return;
  const box = field("uncertainty");
  box.disabled = !scene.uncertainty;
  const shown = box.checked && scene.uncertainty;
  maps.uncertainty(scene, state.bands, shown, field("opacity").value / 100);
  const [low, high] = scene.half_width.range;
  const title = `Half-width of the ${Math.round(100 * (scene.level ?? 0.9))} % interval, reflectance`;
  legend(field("uncertainty-legend"), shown ? scene.half_width.legend : null, `±${low}`, `±${high} or more`, title);
}

function legend(place, colours, low, high, title) {
  place.hidden = !colours;
  if (!colours) return;
  const bar = element("div", { className: "bar", role: "img", ariaLabel: `${title}: from ${low} to ${high}` });
  bar.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
  place.replaceChildren(title, bar, element("div", { className: "ends" }, element("span", { textContent: low }), element("span", { textContent: high })));
}

function setBox(box) {
  state.box = box;
  field("box").value = box ? box.map((value) => value.toFixed(5)).join(", ") : "";
  maps.shape("box", box ? [polygon(box)] : []);
}

// Null for none; throws what the user is told.
function boxOfField() {
  const text = field("box").value.trim();
  if (!text) return null;
  const numbers = text.split(/[\s,]+/).map(Number);
  if (numbers.length !== 4 || !numbers.every(Number.isFinite)) throw new Refused("The box is four numbers in degrees: west, south, east, north.", 400);
  return numbers;
}

const inspect = (place) => state.scene && attempt(() => showPixel(state.scene, place));

// From what is chosen, before any tile is asked for, until all is drawn.
function working(busy) {
  if (!maps.drawn) return;
  field("working").hidden = !busy;
  field("stage").setAttribute("aria-busy", String(busy));
}
maps.listen({ clicked: inspect, moved: keep, slid: (percent) => (field("swipe").value = percent), working });

field("scene").addEventListener("change", (event) => choose(event.target.value));
field("swipe").addEventListener("input", (event) => maps.swipe(event.target.value));
field("uncertainty").addEventListener("change", showUncertainty);
field("opacity").addEventListener("input", showUncertainty);
field("clouds").addEventListener("input", (event) => (field("clouds-value").textContent = event.target.value));
field("inspect-middle").addEventListener("click", () => state.scene && inspect(maps.middle()));
field("box").addEventListener("change", () =>
  attempt(async () => {
    const box = boxOfField();
    maps.shape("box", box ? [polygon(box)] : []);
    state.box = box;
  }),
);
field("whole").addEventListener("click", () => setBox(null));

let stopDrawing = null;
field("draw").addEventListener("click", () => {
  if (stopDrawing) return stopDrawing();
  field("draw").setAttribute("aria-pressed", "true");
  stopDrawing = maps.draw((box) => {
    stopDrawing = null;
    field("draw").setAttribute("aria-pressed", "false");
    if (box) setBox(box);
  });
});

field("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(field("key").value.trim());
  load();
});
field("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const bbox = boxOfField() ?? maps.bounds();
    if (!bbox) throw new Refused("Give a box to search in: west, south, east, north.", 400);
    const found = await ask("/catalogue/search", {
      method: "POST",
      json: { bbox, datetime: `${field("from").value}/${field("to").value}`, max_cloud: Number(field("clouds").value) },
    });
    maps.shape("footprints", found.features);
    if (!found.features.length) throw new Refused("Nothing found: widen the dates or the area, or allow more clouds.", 404);
    listFound(found, (item, button) => attempt(() => addScene(item).then(added), button));
  }, event.submitter);
});
field("upload-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => upload(field("file").files[0]).then(added), event.submitter);
});
field("order-sharpness").addEventListener("input", showSharpness);
field("order-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    if (!state.scene) throw new Refused("There is no scene to be upscaled: search for one, or upload it.", 400);
    const sharpness = wantedSharpness();
    const inputs = { scene: state.scene.id, uncertainty: !sharpness && field("order-uncertainty").checked && state.scene.uncertainty };
    if (sharpness) inputs.sharpness = sharpness;
    const box = boxOfField();
    if (box) inputs.bbox = box;
    if (field("order-rapid").checked) inputs.priority = "rapid";
    await jobs.order(inputs);
  }, event.submitter);
});

const wantedSharpness = () => (state.scene?.visual ? Number(field("order-sharpness").value) : 0);

// Half-widths are calibrated for sharpness 0 alone.
function showSharpness() {
  const sharpness = wantedSharpness();
  field("order-sharpness").disabled = !state.scene?.visual;
  field("order-sharpness-value").textContent = sharpness ? `${sharpness}: a visual product, not for measuring` : "0, for analysis";
  field("order-uncertainty").disabled = sharpness > 0;
}

async function added(scene) {
  state.scenes = [scene, ...state.scenes.filter((one) => one.id !== scene.id)];
  listScenes();
  await choose(scene.id);
  if (!jobs.running) jobs.begin(attempt);
}

const today = new Date();
field("to").value = today.toISOString().slice(0, 10);
field("from").value = new Date(today - 60 * 86400e3).toISOString().slice(0, 10);
start();
