// Fields that were uploaded: drawn on the map, and the index of one over the dates that are there.

import { ask } from "/page/api.js";
import { chart } from "/page/chart.js";
import { element, field, options } from "/page/dom.js";
import { state } from "/page/state.js";

// Dates of a series at most: each takes a second or more.
const MOST_DATES = 24;
const COLOURS = ["#0b7d8a", "#b35900"];
const DAY_MS = 86400e3;

const hint = (textContent) => element("p", { className: "hint", textContent });
const told = (value) => (value === null ? "–" : value.toFixed(3));

export const isVector = (file) => /\.(geojson|json|gpkg)$/i.test(file.name);

export class Fields {
  constructor(maps) {
    this.maps = maps;
    this.features = [];
  }

  async upload(file) {
    const query = new URLSearchParams({ title: file.name.slice(0, 120) });
    const column = field("file-id").value.trim();
    if (column) query.set("id", column);
    const made = await ask(`/fields?${query}`, { method: "POST", body: file, type: "application/octet-stream" });
    await this.list();
    await this.open(made.id);
    this.maps.look(around(this.features));
  }

  async list() {
    const sets = await ask("/fields");
    field("fields-section").hidden = !sets.length;
    field("fields").replaceChildren(...options([["", "none"], ...sets.map(({ id, title, fields }) => [id, `${title} (${fields})`])], this.id ?? ""));
  }

  // Draw a set; an empty id for none.
  async open(id) {
    this.id = id || null;
    this.features = id ? (await ask(`/fields/${id}`)).features : [];
    field("fields").value = id;
    this.maps.shape("fields", this.features);
    this.maps.shape("field", []);
    const named = this.features.map(({ properties }) => [properties.number, `Field ${properties.name}`]);
    field("field").replaceChildren(...options([["", named.length ? "click one, or choose" : "–"], ...named], ""));
    field("series").replaceChildren();
  }

  async remove() {
    if (!this.id) return;
    await ask(`/fields/${this.id}`, { method: "DELETE" });
    await this.open("");
    await this.list();
  }

  // Plot a field's index date by date, as the dates come.
  async plot(number) {
    const { id } = this;
    const asked = (this.asked = {});
    const shown = this.features[number];
    field("field").value = String(number);
    this.maps.shape("field", [shown]);
    const index = field("field-index").value;
    const box = around([shown]);
    const dates = state.scenes.filter((one) => one.datetime && meets(one.bbox, box)).sort((a, b) => a.datetime.localeCompare(b.datetime));
    if (!dates.length) return field("series").replaceChildren(hint("No scene with a date lies there: open some of the place."));
    const rows = [];
    const notes = [];
    for (const [i, scene] of dates.slice(-MOST_DATES).entries()) {
      field("series").replaceChildren(hint(`Computing date ${i + 1} of ${Math.min(dates.length, MOST_DATES)}…`), ...drawn(rows, index, shown));
      try {
        rows.push(await ask(`/scenes/${scene.id}/fields/${id}/${number}?index=${index}`));
      } catch (error) {
        // One date may lack a band, or lie just beside the field.
        if (!error.status) throw error;
        notes.push(`${scene.datetime.slice(0, 10)}: ${error.message}`);
      }
      // Another field was clicked meanwhile.
      if (asked !== this.asked) return;
    }
    if (dates.length > MOST_DATES) notes.push(`The latest ${MOST_DATES} of ${dates.length} dates.`);
    field("series").replaceChildren(...drawn(rows, index, shown), ...notes.map(hint));
  }
}

function drawn(rows, index, { properties }) {
  const known = rows.filter((row) => row.mean !== null);
  if (!known.length) return rows.length ? [hint("Nothing was measured there.")] : [];
  const x = known.map((row) => Date.parse(row.datetime) / DAY_MS);
  const title = `${index.toUpperCase()} of field ${properties.name}`;
  const series = [
    { name: "super-resolved, with half-widths", values: known.map((row) => row.mean), half: known.map((row) => row.half_width), colour: COLOURS[0], points: true },
    { name: "source's pixels", values: known.map((row) => row.source_mean), colour: COLOURS[1], dashed: true },
  ];
  const ticks = [...new Set([0, known.length - 1])].map((i) => [x[i], known[i].datetime.slice(0, 10)]);
  const head = element("tr", {}, ...["Date", "Mean", "±", "Source"].map((textContent) => element("th", { scope: "col", textContent })));
  const body = known.map((row) =>
    element("tr", {}, element("th", { scope: "row", textContent: row.datetime.slice(0, 10) }), ...[row.mean, row.half_width, row.source_mean].map((value) => element("td", { textContent: told(value) }))),
  );
  return [chart({ title, x, series, ticks }), element("table", {}, element("thead", {}, head), element("tbody", {}, ...body))];
}

const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

function around(features) {
  const places = features.flatMap(({ geometry }) => geometry.coordinates.flat(geometry.type === "Polygon" ? 1 : 2));
  return places.reduce((box, [lon, lat]) => [Math.min(box[0], lon), Math.min(box[1], lat), Math.max(box[2], lon), Math.max(box[3], lat)], [180, 90, -180, -90]);
}
