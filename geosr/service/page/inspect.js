// A pixel before and after, its spectrum, and profiles along a line.

import { ask, Refused } from "/page/api.js";
import { chart } from "/page/chart.js";
import { element, field } from "/page/dom.js";
import { lineOf } from "/page/drawing.js";
import { bandsShown } from "/page/layers.js";
import { state } from "/page/state.js";

// From so many bands on, they are drawn as a spectrum as well.
const SPECTRUM = 5;
const COLOURS = { B02: "#2f6fd0", B03: "#238636", B04: "#c8372d", B08: "#8a4fbf" };
const OTHER = ["#0b7d8a", "#b35900", "#7a7a00"];

const number = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(2));
const pair = (value) => (value ? `${number(value.dn)} (${value.reflectance.toFixed(4)})` : "no data");
const hint = (textContent) => element("p", { className: "hint", textContent });

export class Inspect {
  constructor(maps) {
    this.maps = maps;
  }

  clear() {
    field("pixel").replaceChildren();
    field("profile").replaceChildren();
    this.maps.mark(null);
    this.maps.shape("line", []);
  }

  async pixel({ lng, lat }) {
    const { scene } = state;
    this.maps.mark([lng, lat]);
    field("pixel").replaceChildren(hint("Computing…"));
    try {
      const found = await ask(`/scenes/${scene.id}/point?lon=${lng}&lat=${lat}`);
      const where = `${lat.toFixed(5)}°, ${lng.toFixed(5)}°: column ${found.pixel[0]}, row ${found.pixel[1]} of the product`;
      field("pixel").replaceChildren(hint(where), table(found.bands), ...(found.bands.length >= SPECTRUM ? [spectrum(found.bands)] : []));
    } catch (error) {
      this.maps.mark(null);
      field("pixel").replaceChildren();
      throw error;
    }
  }

  async profile(line) {
    field("line").value = line.map((value) => value.toFixed(5)).join(", ");
    this.maps.shape("line", [lineOf(line)]);
    field("profile").replaceChildren(hint("Computing…"));
    try {
      const found = await ask(`/scenes/${state.scene.id}/profile?line=${line.join(",")}`);
      const shown = found.bands.filter((band) => bandsShown().includes(band.name));
      const series = shown.flatMap((band, i) => {
        const colour = COLOURS[band.name] ?? OTHER[i % OTHER.length];
        return [{ name: `${band.name} before`, values: band.before, colour, dashed: true }, { name: "after", values: band.after, colour }];
      });
      field("profile").replaceChildren(chart({ title: "Reflectance along the line", x: found.distance_m, unit: "m", series }));
    } catch (error) {
      field("profile").replaceChildren();
      throw error;
    }
  }

  // The line that was typed. Throws what the user is told.
  typed() {
    const numbers = field("line").value.trim().split(/[\s,]+/).map(Number);
    if (numbers.length !== 4 || !numbers.every(Number.isFinite)) throw new Refused("The line is four numbers in degrees: longitude and latitude of both ends.", 400);
    return numbers;
  }
}

function spectrum(bands) {
  const of = (name) => bands.map((band) => band[name]?.reflectance ?? null);
  const series = [
    { name: "before", values: of("before"), colour: OTHER[1], dashed: true },
    { name: "after", values: of("after"), colour: OTHER[0] },
  ];
  return chart({ title: "Reflectance of the bands", x: bands.map((_, i) => i), series, ticks: bands.map((band, i) => [i, band.name.replace(/^B/, "")]) });
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
  return element("table", {}, element("caption", { textContent: "DN (reflectance)" }), element("thead", {}, head), element("tbody", {}, ...rows));
}
