// Scenes that are found, and those that are added.

import { ask, headers } from "/page/api.js";
import { element, field } from "/page/dom.js";

export const addScene = (item) => ask("/scenes", { method: "POST", json: { item: item["geosr:item"] } });

export function upload(file) {
  const title = encodeURIComponent(file.name.slice(0, 120));
  return ask(`/scenes/upload?title=${title}`, { method: "POST", body: file, type: "image/tiff" });
}

export function listFound(found, take) {
  const rest = found.numberMatched - found.features.length;
  field("found").replaceChildren(...found.features.map((item) => row(item, take)), ...(rest > 0 ? [element("li", { textContent: `and ${rest} more: narrow the dates` })] : []));
}

function row(item, take) {
  const { datetime, "eo:cloud_cover": clouds } = item.properties;
  const button = element("button", { type: "button", textContent: "Show" });
  button.addEventListener("click", () => take(item, button));
  const told = [datetime?.slice(0, 16).replace("T", " "), clouds === undefined ? null : `${Math.round(clouds)} % clouds`].filter(Boolean);
  const text = element("div", {}, element("div", { textContent: item.id }), element("div", { className: "hint", textContent: told.join(", ") }), button);
  const picture = element("img", { alt: "", loading: "lazy" });
  thumbnail(item, picture);
  return element("li", { className: "scene" }, picture, text);
}

async function thumbnail(item, picture) {
  const asset = Object.values(item.assets).find((one) => one.roles?.includes("thumbnail")) ?? item.assets.thumbnail;
  if (!asset) return;
  const answer = await fetch(`/catalogue/thumbnail?href=${encodeURIComponent(asset.href)}`, { headers: headers() }).catch(() => null);
  if (answer?.ok) picture.src = URL.createObjectURL(await answer.blob());
}
