// The state of the page, from which follows what is shown. The address keeps it, but for the key.

export const state = {
  scenes: [],
  // The scene that is ordered and inspected, in full.
  scene: null,
  left: null,
  right: null,
  bands: null,
  // Limits that are shown, as the service takes them; null for the scene's own.
  rescale: null,
  sharpness: "0",
  opacity: 100,
  swipe: 50,
  box: null,
  // True where the service has what a map of change needs.
  offersChange: false,
  // Finished jobs by their id.
  products: new Map(),
};

const KEPT = ["left", "right", "bands", "rescale", "sharpness", "opacity", "swipe"];
const USUAL = { rescale: null, sharpness: "0", opacity: 100, swipe: 50 };

export function keep(view) {
  if (!state.scene) return;
  const kept = { scene: state.scene.id };
  for (const name of KEPT) if (state[name] !== null && state[name] !== USUAL[name]) kept[name] = state[name];
  if (view) kept.at = view;
  history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
}

export function kept() {
  const found = new URLSearchParams(location.hash.slice(1));
  const number = (name) => {
    const value = Number(found.get(name));
    return found.has(name) && value >= 0 && value <= 100 ? value : null;
  };
  const at = found.get("at")?.split("/").map(Number);
  return {
    scene: found.get("scene"),
    left: found.get("left"),
    right: found.get("right"),
    bands: found.get("bands"),
    rescale: /^[-\d.,e]+$/.test(found.get("rescale") ?? "") ? found.get("rescale") : null,
    sharpness: ["0.25", "0.5", "0.75", "1"].includes(found.get("sharpness")) ? found.get("sharpness") : "0",
    opacity: number("opacity"),
    swipe: number("swipe"),
    at: at?.length === 3 && at.every(Number.isFinite) ? at : null,
  };
}
