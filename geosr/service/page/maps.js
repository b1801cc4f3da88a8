// Two maps with one view and a swipe between them; or none, where a browser cannot draw them.

import * as library from "/page/vendor/maplibre-gl.mjs";
import { headers } from "/page/api.js";
import { NoMaps } from "/page/no_maps.js";

// The compare plugin takes the library from there.
window.maplibregl = { ...library };
library.setWorkerUrl("/page/vendor/maplibre-gl-worker.mjs");
await import("/page/vendor/maplibre-gl-compare.js");

const SHAPES = {
  footprints: { color: "#0b6e5f", fill: 0 },
  highlight: { color: "#d4680f", fill: 0.12 },
  growth: { color: "#0b6e5f", fill: 0.35 },
  box: { color: "#d4680f", fill: 0.08 },
  line: { color: "#d4680f", fill: 0 },
  fields: { color: "#f2c14e", fill: 0.08 },
  field: { color: "#d4680f", fill: 0.15 },
};

// Who wants no motion gets pictures at once, and not faded in.
const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
const [LABEL_FADE_MS, PICTURE_FADE_MS] = still ? [0, 0] : [100, 150];

// What is drawn comes below these.
const LOWEST_SHAPE = "footprints-fill";

function newMap(container, title) {
  return new library.Map({
    container,
    style: { version: 8, sources: {}, layers: [{ id: "ground", type: "background", paint: { "background-color": "rgba(0,0,0,0)" } }] },
    center: [10, 30],
    zoom: 1.5,
    maxZoom: 21,
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
    touchPitch: false,
    fadeDuration: LABEL_FADE_MS,
    locale: { "Map.Title": title },
    // The key is for this service alone.
    transformRequest: (url) => ({ url, headers: url.startsWith(`${location.origin}/`) ? headers() : {} }),
  });
}

export function openMaps(onError) {
  try {
    return new Maps(onError);
  } catch (error) {
    // The library needs WebGL 2, and throws without.
    console.warn(`There are no maps: ${error?.message ?? error}`);
    return new NoMaps();
  }
}

class Maps {
  drawn = true;
  #shown = { left: [], right: [] };
  #markers = [];

  constructor(onError) {
    this.before = newMap("before", "Left map");
    this.after = newMap("after", "Right map");
    this.both = [this.before, this.after];
    this.compare = new window.maplibregl.Compare(this.before, this.after, "#maps");
    // The handle lies over the maps: the wheel turns for what is below it.
    const handle = document.querySelector(".compare-swiper-vertical");
    handle.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.after.getCanvas().dispatchEvent(new WheelEvent("wheel", event));
    });
    for (const map of this.both) map.on("error", (event) => (event.tile && event.error?.status === 503 ? later(map, event) : onError(event.error)));
    this.before.addControl(new library.ScaleControl({ unit: "metric" }), "bottom-left");
    this.after.addControl(new library.NavigationControl({ showCompass: false }), "top-right");
    this.ready = Promise.all(this.both.map((map) => new Promise((done) => map.once("load", done)))).then(() => this.#addShapes());
  }

  // Tell of clicks, moves, the swipe's handle, and of when something is being drawn.
  listen({ clicked, moved, slid, working }) {
    for (const map of this.both) {
      map.on("click", (event) => clicked(event.lngLat, map.queryRenderedFeatures(event.point, { layers: [LOWEST_SHAPE] }), map.queryRenderedFeatures(event.point, { layers: ["fields-fill"] })));
      map.on("dataloading", () => map.areTilesLoaded() || working(true));
      map.on("idle", () => this.both.every((one) => one.areTilesLoaded()) && working(false));
    }
    this.after.on("moveend", moved);
    this.compare.on("slideend", ({ currentPosition }) => slid((100 * currentPosition) / this.after.getContainer().clientWidth));
  }

  #addShapes() {
    for (const map of this.both) {
      for (const [name, look] of Object.entries(SHAPES)) {
        map.addSource(name, { type: "geojson", data: { type: "FeatureCollection", features: [] } });
        const filter = name === "growth" ? ["==", ["get", "finished"], true] : ["literal", true];
        map.addLayer({ id: `${name}-fill`, type: "fill", source: name, filter, paint: { "fill-color": look.color, "fill-opacity": look.fill } });
        map.addLayer({ id: `${name}-line`, type: "line", source: name, paint: { "line-color": look.color, "line-width": ["box", "line", "highlight", "field"].includes(name) ? 2 : 1 } });
      }
    }
  }

  basemap({ tiles }) {
    for (const map of this.both) {
      map.addSource("basemap", { type: "raster", tiles: [tiles], tileSize: 256, maxzoom: 19 });
      map.addLayer({ id: "basemap", type: "raster", source: "basemap" }, map.getStyle().layers[1]?.id);
    }
  }

  shape(name, features) {
    for (const map of this.both) map.getSource(name)?.setData({ type: "FeatureCollection", features });
  }

  // Show layers on a side, the lowest first; what is there already stays.
  side(which, layers) {
    const map = which === "left" ? this.before : this.after;
    const shown = this.#shown[which];
    const same = layers.findIndex((layer, i) => shown[i]?.url !== layer.url);
    const first = same < 0 ? layers.length : same;
    for (let i = first; i < shown.length; i++) {
      map.removeLayer(`layer-${i}`);
      map.removeSource(`layer-${i}`);
    }
    for (let i = first; i < layers.length; i++) {
      const { url, bounds, minzoom, maxzoom } = layers[i];
      map.addSource(`layer-${i}`, { type: "raster", tiles: [url], tileSize: 256, bounds, minzoom, maxzoom });
      map.addLayer({ id: `layer-${i}`, type: "raster", source: `layer-${i}`, paint: { "raster-fade-duration": PICTURE_FADE_MS, "raster-resampling": "nearest" } }, LOWEST_SHAPE);
    }
    layers.forEach(({ opacity }, i) => map.setPaintProperty(`layer-${i}`, "raster-opacity", opacity));
    this.#shown[which] = layers;
    // It says that it is idle after it was drawn, also when nothing is to be loaded.
    map.triggerRepaint();
  }

  // The place that is inspected; null for none.
  mark(place) {
    for (const marker of this.#markers) marker.remove();
    const element = () => Object.assign(document.createElement("div"), { className: "marker" });
    this.#markers = place ? this.both.map((map) => new library.Marker({ element: element() }).setLngLat(place).addTo(map)) : [];
    // It is said beside the map what is there; the mark itself is nothing to use.
    for (const marker of this.#markers) {
      marker.getElement().removeAttribute("aria-label");
      marker.getElement().removeAttribute("role");
      marker.getElement().removeAttribute("tabindex");
      marker.getElement().setAttribute("aria-hidden", "true");
    }
  }

  swipe(percent) {
    this.compare.setSlider((this.after.getContainer().clientWidth * percent) / 100);
  }

  look([west, south, east, north]) {
    this.after.fitBounds([[west, south], [east, north]], { padding: 24, duration: 0 });
  }

  // A view as the page's address keeps it: zoom, latitude, longitude.
  view() {
    const { lng, lat } = this.after.getCenter();
    return `${this.after.getZoom().toFixed(2)}/${lat.toFixed(5)}/${lng.toFixed(5)}`;
  }

  go([zoom, lat, lng]) {
    this.after.jumpTo({ zoom, center: [lng, lat] });
  }

  middle() {
    return this.after.getCenter();
  }

  bounds() {
    return this.after.getBounds().toArray().flat();
  }
}

const waiting = new Set();

// Tiles that a busy service could not give yet are asked for again: with their whole source, whose others the browser
// and the service have kept. (Alone, the library draws a refused tile before it has come.)
function later(map, { sourceId }) {
  const source = map.getSource(sourceId);
  if (!source || waiting.has(source)) return;
  waiting.add(source);
  setTimeout(() => {
    waiting.delete(source);
    if (map.getSource(sourceId) === source) map.refreshTiles(sourceId);
  }, 5000);
}
