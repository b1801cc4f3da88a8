// Finding scenes: the search, its calendar and list, places by name, and uploads.

import { ask, loadPicture, Refused } from "/page/api.js";
import { element, field, options } from "/page/dom.js";
import { state } from "/page/state.js";

// Around a point that is searched, degrees.
const AROUND = 0.05;

// `open` and `compare` take an Item that was found, and the button that was pressed.
export class Find {
  constructor(maps, { about, open, compare }) {
    this.maps = maps;
    this.about = about;
    this.open = open;
    this.compare = compare;
    field("file-sensor").append(...options((about?.sensors ?? []).map((name) => [name, name])));
    if (about?.places) field("place").placeholder = "a place; latitude, longitude; a box; or what the map shows";
  }

  async search() {
    field("places").hidden = true;
    const bbox = await this.#area();
    if (!bbox) return;
    this.#loading();
    try {
      const days = `${field("from").value}/${field("to").value}`;
      const found = await ask("/catalogue/search", { method: "POST", json: { bbox, datetime: days, max_cloud: Number(field("clouds").value) } });
      if (!found.features.length) throw new Refused("Nothing found: widen the dates or the area, or allow more clouds.", 404);
      this.#show(found);
    } catch (error) {
      field("results-area").hidden = true;
      this.maps.shape("footprints", []);
      throw error;
    } finally {
      field("found").removeAttribute("aria-busy");
    }
  }

  // The box to search in; null after places were listed, of which one is chosen first.
  async #area() {
    const text = field("place").value.trim();
    if (!text) {
      const area = state.box ?? this.maps.bounds();
      if (!area) throw new Refused("Give a box to search in: west, south, east, north.", 400);
      return area;
    }
    const numbers = text.split(/[\s,;]+/).map(Number);
    if (numbers.every(Number.isFinite)) {
      if (numbers.length === 4) return numbers;
      const [lat, lon] = numbers;
      if (numbers.length !== 2 || Math.abs(lat) > 90 || Math.abs(lon) > 180) {
        throw new Refused("Give latitude and longitude, or west, south, east and north, in degrees.", 400);
      }
      return [lon - AROUND, lat - AROUND, lon + AROUND, lat + AROUND];
    }
    if (!this.about?.places) throw new Refused("This service has no search for names of places: give coordinates, or leave the field empty to search what the map shows.", 400);
    const places = await ask(`/places?${new URLSearchParams({ query: text })}`);
    if (!places.length) throw new Refused(`No place is called ${text}.`, 404);
    if (places.length === 1) return places[0].bbox;
    const buttons = places.map((place) => {
      const button = element("button", { type: "button", textContent: place.name });
      button.addEventListener("click", () => {
        field("place").value = place.bbox.map((value) => value.toFixed(4)).join(", ");
        field("search-form").requestSubmit();
      });
      return element("li", {}, button);
    });
    field("places").replaceChildren(...buttons);
    field("places").hidden = false;
    buttons[0].firstElementChild.focus();
    return null;
  }

  #loading() {
    field("results-area").hidden = false;
    field("found-count").textContent = "Searching…";
    field("calendar").replaceChildren();
    field("found").setAttribute("aria-busy", "true");
    field("found").replaceChildren(...Array.from({ length: 3 }, () => element("li", { className: "loading", ariaHidden: "true" })));
  }

  #show(found) {
    const { features } = found;
    field("empty").hidden = true;
    this.rows = new Map(features.map((item) => [item.id, this.#row(item)]));
    field("found-count").textContent = found.numberMatched > features.length ? `${features.length} of ${found.numberMatched} scenes, clearest first: narrow the dates for the others` : `${features.length} ${features.length === 1 ? "scene" : "scenes"}, clearest first`;
    field("found").replaceChildren(...this.rows.values());
    field("find-hint").hidden = true;
    this.features = features;
    this.#calendar(features);
    this.maps.shape("footprints", features.map((item) => ({ ...item, properties: { id: item.id } })));
    this.maps.look(around(features.map((item) => item.bbox)));
  }

  // One column a date, the clearest scene of it, as high as its clouds.
  #calendar(features) {
    const dates = new Map();
    for (const item of features) {
      const date = item.properties.datetime?.slice(0, 10);
      const there = dates.get(date);
      if (date && (!there || cloudsOf(item) < cloudsOf(there))) dates.set(date, item);
    }
    let month = null;
    const columns = [...dates].sort().map(([date, item]) => {
      const clouds = cloudsOf(item);
      const bar = element("span", { className: "clouds" });
      bar.style.height = `${0.2 + clouds / 50}rem`;
      const named = date.slice(0, 7) === month ? "unseen" : "month";
      month = date.slice(0, 7);
      const words = [
        String(Number(date.slice(8))),
        element("span", { className: named, textContent: ` ${new Date(date).toLocaleDateString("en", { month: "short", timeZone: "UTC" })}` }),
        element("span", { className: "unseen", textContent: ` ${date.slice(0, 4)}, ${Math.round(clouds)} % clouds` }),
      ];
      const button = element("button", { type: "button", title: `${date}, ${Math.round(clouds)} % clouds` }, bar, ...words);
      button.dataset.item = item.id;
      button.addEventListener("click", () => this.choose(item.id));
      return button;
    });
    field("calendar").replaceChildren(...columns);
  }

  // Point at a scene that was found: in the list, the calendar and on the map.
  choose(id) {
    const row = this.rows?.get(id);
    if (!row) return;
    for (const one of this.rows.values()) one.classList.toggle("chosen", one === row);
    for (const column of field("calendar").children) column.classList.toggle("chosen", column.dataset.item === id);
    row.scrollIntoView({ block: "nearest" });
    this.#highlight(id);
  }

  // A scene is shown: nothing is pointed at any more.
  leave() {
    this.maps.shape("highlight", []);
  }

  #highlight(id) {
    this.maps.shape("highlight", this.features.filter((item) => item.id === id).map((item) => ({ ...item, properties: {} })));
  }

  #row(item) {
    const clouds = item.properties["eo:cloud_cover"];
    const button = (textContent, take, label) => {
      const made = element("button", { type: "button", textContent, ariaLabel: `${textContent} ${label}` });
      made.addEventListener("click", () => take(item, made));
      return made;
    };
    const when = item.properties.datetime?.slice(0, 10) ?? item.id;
    const told = [item.properties.datetime && `${item.properties.datetime.slice(11, 16)} UTC`, clouds === undefined ? null : `${Math.round(clouds)} % clouds`];
    const picture = element("img", { alt: "", loading: "lazy" });
    thumbnail(item, picture);
    const row = element(
      "li",
      { className: "scene" },
      picture,
      element(
        "div",
        {},
        element("div", { className: "what", textContent: when }),
        element("div", { className: "hint", textContent: told.filter(Boolean).join(", ") }),
        element("div", { className: "hint", textContent: item.id }),
        element("div", { className: "buttons" }, button("Show", this.open, when), button("Compare", this.compare, when)),
      ),
    );
    for (const event of ["pointerenter", "focusin"]) row.addEventListener(event, () => this.#highlight(item.id));
    return row;
  }
}

const cloudsOf = (item) => item.properties["eo:cloud_cover"] ?? 0;

const around = (boxes) => boxes.reduce((a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])]);

function thumbnail(item, picture) {
  const asset = Object.values(item.assets).find((one) => one.roles?.includes("thumbnail")) ?? item.assets.thumbnail;
  if (asset) loadPicture(`/catalogue/thumbnail?href=${encodeURIComponent(asset.href)}`, picture);
}

const added = new Map();

// The scene of an Item; one that was added before is not added again.
export async function sceneOfItem(item) {
  const address = item["geosr:item"];
  if (!added.has(address)) added.set(address, (await ask("/scenes", { method: "POST", json: { item: address } })).id);
  return ask(`/scenes/${added.get(address)}`).catch((error) => {
    added.delete(address);
    throw error;
  });
}

export async function upload(file) {
  const said = { bands: field("file-bands").value.replaceAll(/[\s,;]+/g, ",").replaceAll(/^,|,$/g, "") };
  said.sensor = field("file-sensor").value;
  for (const name of ["scale", "offset", "nodata"]) said[name] = field(`file-${name}`).value.trim().replace(",", ".");
  const query = new URLSearchParams({ title: file.name.slice(0, 120) });
  for (const [name, value] of Object.entries(said)) if (value) query.set(name, value);
  try {
    const scene = await ask(`/scenes/upload?${query}`, { method: "POST", body: file, type: "application/octet-stream" });
    field("describe").open = false;
    for (const name of Object.keys(said)) field(`file-${name}`).value = "";
    return scene;
  } catch (error) {
    // What is missing can be said, and the file be sent again.
    if (error.status === 400 || error.status === 409) {
      field("describe").open = true;
      field("file-bands").focus();
    }
    throw error;
  }
}

// A file that is dropped anywhere on the page is taken as if it had been chosen.
export function listenForDrops(take) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (shown) => (field("drop").hidden = !shown);
  window.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(true);
  });
  window.addEventListener("dragleave", (event) => event.relatedTarget === null && show(false));
  window.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(false);
    field("file").files = event.dataTransfer.files;
    take(event.dataTransfer.files[0]);
  });
}

