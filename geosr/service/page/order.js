// The order of a product: its box, its size, and how it is to look.

import { Refused } from "/page/api.js";
import { field } from "/page/dom.js";
import { polygon } from "/page/drawing.js";
import { state } from "/page/state.js";

const DEGREE_M = 111_320;

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

  // Half-widths are calibrated for sharpness 0 alone.
  show() {
    const sharpness = this.#sharpness();
    field("order-sharpness").disabled = !state.scene?.visual;
    field("order-sharpness-value").textContent = sharpness ? `${sharpness}: a visual product, not for measuring` : "0, for analysis";
    field("order-uncertainty").disabled = sharpness > 0 || !state.scene?.uncertainty;
    this.#size();
  }

  #sharpness() {
    return state.scene?.visual ? Number(field("order-sharpness").value) : 0;
  }

  inputs() {
    const { scene } = state;
    if (!scene) throw new Refused("There is no scene to be upscaled: search for one, or upload it.", 400);
    const sharpness = this.#sharpness();
    const inputs = { scene: scene.id, uncertainty: !sharpness && field("order-uncertainty").checked && scene.uncertainty };
    if (sharpness) inputs.sharpness = sharpness;
    const box = this.takeBox();
    if (box) inputs.bbox = box;
    if (field("order-rapid").checked) inputs.priority = "rapid";
    return inputs;
  }
}
