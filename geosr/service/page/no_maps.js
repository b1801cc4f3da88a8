// Stands for the maps where a browser draws none: all that needs no picture goes on.

import { state } from "/page/state.js";

export class NoMaps {
  drawn = false;
  both = [];
  ready = Promise.resolve();

  constructor() {
    for (const id of ["maps", "look", "draw", "draw-line", "picture", "mark", "credits", "label-before", "label-after"]) {
      document.getElementById(id).hidden = true;
    }
    document.getElementById("no-maps").hidden = false;
  }

  middle() {
    const [west, south, east, north] = state.scene.bbox;
    return { lng: (west + east) / 2, lat: (south + north) / 2 };
  }

  view() {
    return null;
  }

  bounds() {
    return null;
  }

  listen() {}
  basemap() {}
  side() {}
  shape() {}
  mark() {}
  swipe() {}
  look() {}
  go() {}
}
