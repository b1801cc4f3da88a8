// Taking home what is seen: a link, addresses for other programs, and a picture with its scale and credits.

import { key } from "/page/api.js";
import { field, tell } from "/page/dom.js";
import { layersOf } from "/page/layers.js";
import { state } from "/page/state.js";

const EQUATOR_M = 40_075_017;
const WORLD_PX = 512;

export async function share() {
  field("share-link").value = `${location.origin}/${location.hash}`;
  const { xyz, wmts, tilejson } = await addresses(state.right);
  field("share-xyz").value = xyz;
  field("share-wmts").value = wmts;
  field("share-tilejson").value = tilejson;
  field("share-key").hidden = !key.get();
  field("share-dialog").showModal();
  field("share-link").select();
}

// Of the upper layer, as the map shows it; for programs in tiles of the usual size.
async function addresses(choice) {
  const [kind, id] = choice.split(".");
  const [path, query] = (await layersOf(choice)).at(-1).url.split("?");
  if (kind === "product") return { xyz: `${path}?${query}`, wmts: `${location.origin}/jobs/${id}/wmts?${query}`, tilejson: `${location.origin}/jobs/${id}/map/WebMercatorQuad/tilejson.json?${query}` };
  const asked = new URLSearchParams(query);
  asked.delete("scale");
  const base = `${location.origin}/scenes/${id}`;
  const rescale = asked.get("rescale") ?? state.rescale;
  const all = new URLSearchParams({ bands: state.bands, ...(rescale && { rescale }) });
  return { xyz: `${path}?${asked}`, wmts: `${base}/wmts?${all}`, tilejson: `${base}/tilejson.json?${asked}` };
}

export async function copyLink() {
  field("share-link").select();
  try {
    await navigator.clipboard.writeText(field("share-link").value);
  } catch {
    // Where a page may not write there, as without TLS.
    document.execCommand("copy");
  }
  field("share-dialog").close();
  tell("The link is copied.");
}

// A picture of both sides as they are seen, in the pixels of the screen.
export async function takePicture(maps) {
  const { clientWidth: width, clientHeight: height } = maps.after.getContainer();
  const ratio = window.devicePixelRatio;
  const canvas = Object.assign(document.createElement("canvas"), { width: width * ratio, height: height * ratio });
  const paint = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  paint.fillStyle = style.getPropertyValue("--ground");
  paint.fillRect(0, 0, canvas.width, canvas.height);
  const split = (width * state.swipe) / 100;
  for (const [map, left, right] of [[maps.before, 0, split], [maps.after, split, width]]) await drawPart(paint, map, left * ratio, right * ratio);
  paint.scale(ratio, ratio);
  paint.fillStyle = "#ffffff";
  paint.fillRect(split - 1, 0, 2, height);
  label(paint, field("label-before").textContent, 8, 8, "left");
  label(paint, field("label-after").textContent, width - 8, 8, "right");
  label(paint, `${field("mark").textContent} ${field("credits").textContent}`, width - 8, height - 26, "right");
  drawScale(paint, maps.after, 8, height - 26);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `geosr-${state.scene.id}.png` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// A map's canvas can be read only right after it was drawn.
function drawPart(paint, map, left, right) {
  return new Promise((done) => {
    map.once("render", () => {
      const canvas = map.getCanvas();
      if (right > left) paint.drawImage(canvas, left, 0, right - left, canvas.height, left, 0, right - left, canvas.height);
      done();
    });
    map.triggerRepaint();
  });
}

function label(paint, text, x, y, align) {
  paint.font = "12px system-ui, sans-serif";
  paint.textAlign = align;
  paint.textBaseline = "top";
  const { width } = paint.measureText(text);
  paint.fillStyle = "rgb(255 255 255 / 0.88)";
  paint.fillRect(align === "left" ? x - 4 : x - width - 4, y - 3, width + 8, 18);
  paint.fillStyle = "#1a2220";
  paint.fillText(text, x, y);
}

function drawScale(paint, map, x, y) {
  const metres = (EQUATOR_M * Math.cos((map.getCenter().lat * Math.PI) / 180)) / (WORLD_PX * 2 ** map.getZoom());
  const most = 120 * metres;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].map((step) => step * power).find((step) => step <= most);
  const text = length >= 1000 ? `${length / 1000} km` : `${length} m`;
  label(paint, text, x + 4, y, "left");
  paint.fillStyle = "#1a2220";
  paint.fillRect(x, y + 16, length / metres, 3);
}
