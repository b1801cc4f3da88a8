// What a pixel is, before and after.

import { ask } from "/page/api.js";
import { element, field } from "/page/dom.js";

const number = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(2));
const pair = (value) => (value ? `${number(value.dn)} (${value.reflectance.toFixed(4)})` : "no data");

export async function showPixel(scene, { lng, lat }) {
  field("pixel").replaceChildren(element("p", { className: "hint", textContent: "Computing…" }));
  try {
    const found = await ask(`/scenes/${scene.id}/point?lon=${lng}&lat=${lat}`);
    field("pixel").replaceChildren(
      element("p", { className: "hint", textContent: `${lat.toFixed(5)}°, ${lng.toFixed(5)}°: column ${found.pixel[0]}, row ${found.pixel[1]} of the product` }),
      table(found.bands),
    );
  } catch (error) {
    field("pixel").replaceChildren();
    throw error;
  }
}

function table(bands) {
  const head = element("tr", {}, ...["Band", "Before", "After", "±"].map((textContent) => element("th", { scope: "col", textContent })));
  const rows = bands.map((band) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", textContent: band.name }),
      element("td", { textContent: pair(band.before) }),
      element("td", { textContent: pair(band.after) }),
      element("td", { textContent: band.half_width ? pair(band.half_width) : "–" }),
    ),
  );
  return element("table", {}, element("caption", { className: "hint", textContent: "DN (reflectance)" }), element("thead", {}, head), element("tbody", {}, ...rows));
}
