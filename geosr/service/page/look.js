// Looking and comparing: what the two sides show, in which bands, colours and sharpness, with their legends and marks.

import { ask } from "/page/api.js";
import { changeJobOf, changeLegend } from "/page/change_result.js";
import { element, field, options } from "/page/dom.js";
import { choices, combination, dateOf, datesOfChange, isChoice, layersOf, othersOf, sceneOf, titleOf } from "/page/layers.js";
import { state } from "/page/state.js";

const SIDES = [["left", "label-before"], ["right", "label-after"]];
const STRETCHES = [["scene", "The scene, 1–99 %"], ["2,98", "What is shown, 2–98 %"], ["0.5,99.5", "What is shown, 0.5–99.5 %"]];
// Of several dates, by choice: they stay the same.
const reports = new Map();

export class Look {
  constructor(maps, working) {
    this.maps = maps;
    this.working = working;
  }

  // The lists of choices, for a scene or products have changed; what is chosen stays where it can.
  list() {
    const { scene } = state;
    if (!isChoice(state.left)) state.left = `original.${scene.id}`;
    if (!isChoice(state.right)) state.right = `sr.${scene.id}`;
    for (const [side] of SIDES) {
      const groups = choices().map(([label, entries]) => {
        const group = element("optgroup", { label });
        group.append(...options(entries, state[side]));
        return group;
      });
      field(side).replaceChildren(...groups);
    }
    const named = scene.combinations.map((one) => [one.name, one.title]);
    const all = [...named, ...scene.bands.map((band) => [band.name, `${band.name}, grey`])];
    if (!all.some(([name]) => name === state.bands)) state.bands = scene.default_bands;
    field("bands").replaceChildren(...options(all, state.bands));
    const stretches = state.rescale ? [["kept", `${describe(state.rescale)}`], ...STRETCHES] : STRETCHES;
    field("stretch").replaceChildren(...options(stretches, state.rescale ? "kept" : "scene"));
    const steps = [["0", "0, for analysis"], ...["0.25", "0.5", "0.75", "1"].map((step) => [step, `${step}, to look at`])];
    field("sharpness").replaceChildren(...options(steps, state.sharpness));
    field("sharpness").disabled = !scene.visual;
    field("opacity").value = state.opacity;
    field("swipe").value = state.swipe;
  }

  // Show what is chosen. Views stay, and so do tiles that are the same.
  async show() {
    if (!this.maps.drawn || !state.scene) return;
    const asked = (this.asked = {});
    this.working(true);
    const layers = await Promise.all(SIDES.map(([side]) => layersOf(state[side])));
    // Something else was chosen meanwhile.
    if (asked !== this.asked) return;
    SIDES.forEach(([side], i) => this.maps.side(side, layers[i]));
    await this.tell();
  }

  // Labels, marks and legends of what is shown.
  async tell() {
    if (!this.maps.drawn) return;
    const kinds = SIDES.map(([side]) => state[side].split(".")[0]);
    const sharpened = (side) => state.sharpness !== "0" && state.scene.visual && state[side].startsWith("sr.");
    for (const [side, label] of SIDES) {
      const visual = sharpened(side);
      field(label).textContent = `${await this.#title(state[side])}${visual ? `, sharpness ${state.sharpness}` : ""}`;
      field(label).classList.toggle("visual", visual);
    }
    const visual = SIDES.some(([side]) => sharpened(side));
    field("mark").textContent = visual ? "Sharpened to look like imagery: more of its detail is false, and it is not for measuring." : `${state.scene.detail}.`;
    field("mark").classList.toggle("visual", visual);
    const changes = SIDES.map(([side]) => changeJobOf(state[side])).filter(Boolean);
    field("opacity-field").hidden = !changes.length && !kinds.some((kind) => kind === "uncertainty" || kind === "change");
    field("to-change").hidden = !datesOfChange();
    const dates = [...new Set(SIDES.map(([side]) => state[side]))].filter((choice) => choice.startsWith("dates."));
    this.#legends(kinds, await Promise.all([...changes.map(changeLegend), ...dates.map(datesLegend)]));
  }

  // With its date, where two of them are compared.
  async #title(choice) {
    const title = titleOf(choice);
    const [kind, id] = choice.split(".");
    const own = id === state.scene.id && (kind === "original" || kind === "sr");
    const others = SIDES.some(([side]) => !["product", "change"].includes(state[side].split(".")[0]) && state[side].split(".")[1] !== state.scene.id);
    return own && others ? `${title}, ${dateOf(await sceneOf(id))}` : title;
  }

  #legends(kinds, parts) {
    const { scene } = state;
    const index = combination();
    if (index?.legend && kinds.some((kind) => !["uncertainty", "change"].includes(kind))) parts.push(legend(index.legend, "−1", "1", index.title));
    if (kinds.includes("change")) {
      const { legend: colours, range } = index?.change ?? scene.change;
      const what = index?.index ? index.title : "mean reflectance of these bands";
      parts.push(legend(colours, `${range[0]} or less`, `${range[1]} or more`, `Change of ${what}, as it is`));
    }
    if (kinds.includes("uncertainty")) {
      const [low, high] = scene.half_width.range;
      parts.push(legend(scene.half_width.legend, `±${low}`, `±${high} or more`, `Half-width of the ${Math.round(100 * (scene.level ?? 0.9))} % interval, reflectance`));
    }
    field("legend").hidden = parts.length === 0;
    field("legend").replaceChildren(...parts);
  }

  // Limits by percentiles of what the map shows, kept as numbers: both sides and every reader of the link get the same.
  async stretch(choice) {
    if (choice === "scene") state.rescale = null;
    else if (choice !== "kept") {
      const [west, south, east, north] = this.maps.bounds();
      const [low, high] = choice.split(",");
      const asked = new URLSearchParams({ bbox: [west, south, east, north].join(","), bands: state.bands, low, high });
      state.rescale = (await ask(`/scenes/${state.scene.id}/stretch?${asked}`)).rescale;
    }
    this.list();
    await this.show();
  }
}

// The dates that make one image, and why others do not.
async function datesLegend(choice) {
  if (!reports.has(choice)) reports.set(choice, await ask(`/scenes/${choice.split(".")[1]}/dates?others=${othersOf(choice)}`));
  const report = reports.get(choice);
  const named = (role) => report.filter((one) => one.role === role).map((one) => one.date).sort().join(", ");
  const unused = report.filter((one) => one.reason).map((one) => element("div", {}, `Not ${one.date}: ${one.reason}`));
  return element("div", {}, `${named("reference")} ${named("used") ? `corrected by ${named("used")}` : "alone"}`, ...unused);
}

const describe = (rescale) => `${rescale.split(",").slice(0, 2).map((value) => Number(value).toFixed(2)).join(" to ")}…`;

function legend(colours, low, high, title) {
  const bar = element("div", { className: "bar", role: "img", ariaLabel: `${title}: from ${low} to ${high}` });
  bar.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
  return element("div", {}, title, bar, element("div", { className: "ends" }, element("span", { textContent: low }), element("span", { textContent: high })));
}
