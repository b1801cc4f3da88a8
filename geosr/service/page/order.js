// The order of a product: its box, its size, and how it is to look.

import { Refused } from "/page/api.js";
import { field, options } from "/page/dom.js";
import { polygon } from "/page/drawing.js";
import { dateOf, datesOfChange, othersOf } from "/page/layers.js";
import { state } from "/page/state.js";

const DEGREE_M = 111_320;

// The further scenes of the image of several dates that is shown, which is what is ordered then.
function severalShown() {
  const shown = [state.right, state.left].find((choice) => choice?.startsWith(`dates.${state.scene?.id}.`));
  return shown ? othersOf(shown) : [];
}

export class Order {
  constructor(maps) {
    this.maps = maps;
  }

  setBox(box) {
    state.box = box;
    field("box").value = box ? box.map((value) => value.toFixed(5)).join(", ") : "";
    this.maps.shape("box", box ? [polygon(box)] : []);
    this.#size();
  }

  // Take over the box that was typed. Throws what the user is told.
  takeBox() {
    const box = this.#typed();
    state.box = box;
    this.maps.shape("box", box ? [polygon(box)] : []);
    this.#size();
    return box;
  }

  #typed() {
    const text = field("box").value.trim();
    if (!text) return null;
    const numbers = text.split(/[\s,]+/).map(Number);
    if (numbers.length !== 4 || !numbers.every(Number.isFinite)) throw new Refused("The box is four numbers in degrees: west, south, east, north.", 400);
    return numbers;
  }

  // About how large the product is.
  #size() {
    const { scene } = state;
    if (!scene) return;
    const [west, south, east, north] = state.box ?? scene.bbox;
    if (west >= east || south >= north) {
      field("order-size").textContent = "";
      return;
    }
    const tall = (north - south) * DEGREE_M;
    const wide = (east - west) * DEGREE_M * Math.cos((((south + north) / 2) * Math.PI) / 180);
    const km2 = ((tall * wide) / 1e6).toFixed(tall * wide < 1e8 ? 2 : 0);
    const pixel = scene.gsd_m ? scene.gsd_m / scene.scale : null;
    field("order-size").textContent = pixel ? `About ${km2} km²: ${Math.round(wide / pixel)} × ${Math.round(tall / pixel)} px of ${pixel} m` : `About ${km2} km²`;
  }

  // What can be ordered, and half-widths, which are calibrated for sharpness 0 alone.
  show() {
    const dates = datesOfChange();
    const several = severalShown();
    const product = several.length ? `Super-resolved product of ${several.length + 1} dates` : "Super-resolved product";
    const kinds = [["upscale", product], ...(dates ? [["change", `Change, ${dateOf(dates[0])} to ${dateOf(dates[1])}`]] : [])];
    const chosen = dates && this.#isChange() ? "change" : "upscale";
    field("order-what").replaceChildren(...options(kinds, chosen));
    field("order-product").hidden = chosen === "change";
    field("order-change").hidden = chosen !== "change";
    const sharpness = this.#sharpness();
    field("order-sharpness").disabled = !state.scene?.visual;
    field("order-sharpness-value").textContent = sharpness ? `${sharpness}: a visual product, not for measuring` : "0, for analysis";
    field("order-uncertainty").disabled = sharpness > 0 || !state.scene?.uncertainty;
    this.#size();
  }

  #isChange() {
    return field("order-what").value === "change";
  }

  // Choose the change between the dates that are compared, and go there.
  chooseChange() {
    field("order-what").value = "change";
    this.show();
    field("order-what").focus();
  }

  #sharpness() {
    return state.scene?.visual ? Number(field("order-sharpness").value) : 0;
  }

  // The process that is ordered, and its inputs.
  wanted() {
    const { scene } = state;
    if (!scene) throw new Refused("There is no scene to be upscaled: search for one, or upload it.", 400);
    const process = field("order-what").value;
    const inputs = this.#isChange() ? this.#ofChange() : this.#ofProduct(scene);
    const box = this.takeBox();
    if (box) inputs.bbox = box;
    if (field("order-rapid").checked) inputs.priority = "rapid";
    return { process, inputs };
  }

  #ofProduct(scene) {
    const sharpness = this.#sharpness();
    const uncertainty = !sharpness && field("order-uncertainty").checked && scene.uncertainty;
    const others = severalShown();
    return { scene: scene.id, uncertainty, ...(sharpness && { sharpness }), ...(others.length && { others }) };
  }

  #ofChange() {
    const [before, after] = datesOfChange();
    return { before: before.id, after: after.id, index: field("order-index").value };
  }
}
