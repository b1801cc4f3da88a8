// Two maps, the original and its super-resolution, with a swipe between them; or none, where a browser cannot draw them.

import * as library from "/page/vendor/maplibre-gl.mjs";
import { headers } from "/page/api.js";

// The compare plugin takes the library from there.
window.maplibregl = { ...library };
library.setWorkerUrl("/page/vendor/maplibre-gl-worker.mjs");
await import("/page/vendor/maplibre-gl-compare.js");

const RETINA = window.devicePixelRatio > 1 ? 2 : 1;
const SHAPES = {
  footprints: { color: "#0b6e5f", fill: 0.06 },
  growth: { color: "#0b6e5f", fill: 0.35 },
  box: { color: "#d4680f", fill: 0.08 },
};

function newMap(container) {
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
    fadeDuration: 100,
    transformRequest: (url) => ({ url, headers: headers() }),
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

  constructor(onError) {
    this.before = newMap("before");
    this.after = newMap("after");
    this.both = [this.before, this.after];
    this.compare = new window.maplibregl.Compare(this.before, this.after, "#maps");
    // The handle lies over the maps: the wheel turns for what is below it.
    const handle = document.querySelector(".compare-swiper-vertical");
    handle.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.after.getCanvas().dispatchEvent(new WheelEvent("wheel", event));
    });
    for (const map of this.both) map.on("error", (event) => (event.tile && event.error?.status === 503 ? later(map, event) : onError(event.error)));
    for (const map of this.both) map.addControl(new library.ScaleControl({ unit: "metric" }), "bottom-left");
    this.after.addControl(new library.NavigationControl({ showCompass: false }), "top-right");
    this.ready = Promise.all(this.both.map((map) => new Promise((done) => map.once("load", done)))).then(() => this.#addShapes());
  }

  // Tell of clicks, moves, the swipe's handle, and of when the sharpened side is being drawn: it alone makes one wait.
  listen({ clicked, moved, slid, working }) {
    for (const map of this.both) {
      map.on("click", (event) => clicked(event.lngLat));
      map.on("moveend", moved);
    }
    this.after.on("dataloading", () => this.after.areTilesLoaded() || working(true));
    this.after.on("idle", () => working(false));
    this.compare.on("slideend", ({ currentPosition }) => slid((100 * currentPosition) / this.after.getContainer().clientWidth));
  }

  #addShapes() {
    for (const map of this.both) {
      for (const [name, look] of Object.entries(SHAPES)) {
        map.addSource(name, { type: "geojson", data: { type: "FeatureCollection", features: [] } });
        const filter = name === "growth" ? ["==", ["get", "finished"], true] : ["literal", true];
        map.addLayer({ id: `${name}-fill`, type: "fill", source: name, filter, paint: { "fill-color": look.color, "fill-opacity": look.fill } });
        map.addLayer({ id: `${name}-line`, type: "line", source: name, paint: { "line-color": look.color, "line-width": name === "box" ? 2 : 1 } });
      }
    }
  }

  shape(name, features) {
    for (const map of this.both) map.getSource(name)?.setData({ type: "FeatureCollection", features });
  }

  // Show a scene's layers in some bands, or what changed of that.
  show(scene, bands) {
    this.#tiles(this.before, "original", scene, bands);
    this.#tiles(this.after, "sr", scene, bands);
  }

  uncertainty(scene, bands, shown, opacity) {
    if (!shown) return this.#remove(this.after, "uncertainty");
    if (!this.after.getLayer("uncertainty") || this.shownUncertainty !== scene.id + bands) {
      this.#tiles(this.after, "uncertainty", scene, bands);
      this.shownUncertainty = scene.id + bands;
    }
    this.after.setPaintProperty("uncertainty", "raster-opacity", opacity);
  }

  clear() {
    for (const map of this.both) for (const layer of ["original", "sr", "uncertainty"]) this.#remove(map, layer);
  }

  #tiles(map, layer, scene, bands) {
    this.#remove(map, layer);
    const query = new URLSearchParams({ layer, bands, scale: RETINA });
    map.addSource(layer, {
      type: "raster",
      tiles: [`${location.origin}/scenes/${scene.id}/tiles/{z}/{x}/{y}?${query}`],
      tileSize: 256,
      bounds: scene.bbox,
      minzoom: layer === "uncertainty" ? Math.max(scene.zooms.first, scene.zooms.super_resolved - 1) : scene.zooms.first,
      // Finer than a few tile pixels for each of the product's, there is nothing to see.
      maxzoom: scene.zooms.super_resolved + 4,
    });
    map.addLayer({ id: layer, type: "raster", source: layer, paint: { "raster-fade-duration": 150, "raster-resampling": "nearest" } }, layer === "uncertainty" ? "footprints-fill" : map.getLayer("uncertainty") ? "uncertainty" : "footprints-fill");
  }

  #remove(map, layer) {
    if (map.getLayer(layer)) map.removeLayer(layer);
    if (map.getSource(layer)) map.removeSource(layer);
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

  // The next drag on the map becomes a box, in degrees.
  draw(done) {
    const maps = document.getElementById("maps");
    maps.classList.add("drawing");
    for (const map of this.both) map.dragPan.disable();
    let start = null;
    const place = (event) => {
      const frame = maps.getBoundingClientRect();
      return this.after.unproject([event.clientX - frame.left, event.clientY - frame.top]);
    };
    const boxOf = (a, b) => [Math.min(a.lng, b.lng), Math.min(a.lat, b.lat), Math.max(a.lng, b.lng), Math.max(a.lat, b.lat)];
    let pointer = null;
    const down = (event) => {
      // A second finger draws nothing.
      if (start) return;
      pointer = event.pointerId;
      start = place(event);
      event.preventDefault();
      event.stopPropagation();
    };
    const move = (event) => start && event.pointerId === pointer && this.shape("box", [polygon(boxOf(start, place(event)))]);
    const end = (box) => {
      maps.classList.remove("drawing");
      for (const map of this.both) map.dragPan.enable();
      maps.removeEventListener("pointerdown", down, true);
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", up);
      window.removeEventListener("pointercancel", cancel);
      window.removeEventListener("keydown", escape);
      done(box);
    };
    const up = (event) => {
      if (!start || event.pointerId !== pointer) return;
      const box = boxOf(start, place(event));
      end(box[0] < box[2] && box[1] < box[3] ? box : null);
    };
    const cancel = (event) => event.pointerId === pointer && end(null);
    const escape = (event) => event.key === "Escape" && end(null);
    maps.addEventListener("pointerdown", down, true);
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up);
    window.addEventListener("pointercancel", cancel);
    window.addEventListener("keydown", escape);
    return () => end(null);
  }
}

// What stands for them otherwise: all that needs no picture goes on.
class NoMaps {
  drawn = false;
  both = [];
  ready = Promise.resolve();

  constructor() {
    document.getElementById("maps").hidden = true;
    document.getElementById("no-maps").hidden = false;
    document.getElementById("view-section").hidden = true;
    document.getElementById("draw").hidden = true;
    for (const label of document.querySelectorAll(".side")) label.hidden = true;
  }

  show(scene) {
    this.scene = scene;
  }

  middle() {
    const [west, south, east, north] = this.scene.bbox;
    return { lng: (west + east) / 2, lat: (south + north) / 2 };
  }

  view() {
    return null;
  }

  bounds() {
    return null;
  }

  listen() {}
  shape() {}
  uncertainty() {}
  swipe() {}
  look() {}
  go() {}
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

export function polygon([west, south, east, north]) {
  const ring = [[west, south], [east, south], [east, north], [west, north], [west, south]];
  return { type: "Feature", properties: {}, geometry: { type: "Polygon", coordinates: [ring] } };
}
