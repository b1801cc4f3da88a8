// Boxes and lines, drawn on the map by mouse or finger.

export function polygon([west, south, east, north]) {
  const ring = [[west, south], [east, south], [east, north], [west, north], [west, south]];
  return { type: "Feature", properties: {}, geometry: { type: "Polygon", coordinates: [ring] } };
}

export function lineOf([lon, lat, lonToo, latToo]) {
  return { type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: [[lon, lat], [lonToo, latToo]] } };
}

const boxOf = (a, b) => [Math.min(a.lng, b.lng), Math.min(a.lat, b.lat), Math.max(a.lng, b.lng), Math.max(a.lat, b.lat)];

const KINDS = {
  box: { of: boxOf, feature: polygon, drawn: (box) => box[0] < box[2] && box[1] < box[3] },
  line: { of: (a, b) => [a.lng, a.lat, b.lng, b.lat], feature: lineOf, drawn: (line) => line[0] !== line[2] || line[1] !== line[3] },
};

// The next drag on the map becomes a box or a line, in degrees; gives a function that stops it.
export function draw(map, kind, done) {
  const { of, feature, drawn } = KINDS[kind];
  const area = document.getElementById("maps");
  area.classList.add("drawing");
  for (const one of map.both) one.dragPan.disable();
  let start = null;
  let pointer = null;
  const place = (event) => {
    const frame = area.getBoundingClientRect();
    return map.after.unproject([event.clientX - frame.left, event.clientY - frame.top]);
  };
  const down = (event) => {
    // A second finger draws nothing.
    if (start) return;
    pointer = event.pointerId;
    start = place(event);
    event.preventDefault();
    event.stopPropagation();
  };
  const move = (event) => start && event.pointerId === pointer && map.shape(kind, [feature(of(start, place(event)))]);
  const end = (shape) => {
    area.classList.remove("drawing");
    for (const one of map.both) one.dragPan.enable();
    area.removeEventListener("pointerdown", down, true);
    for (const [name, listener] of Object.entries(listeners)) window.removeEventListener(name, listener);
    done(shape);
  };
  const up = (event) => {
    if (!start || event.pointerId !== pointer) return;
    const shape = of(start, place(event));
    end(drawn(shape) ? shape : null);
  };
  const listeners = {
    pointermove: move,
    pointerup: up,
    pointercancel: (event) => event.pointerId === pointer && end(null),
    keydown: (event) => event.key === "Escape" && end(null),
  };
  area.addEventListener("pointerdown", down, true);
  for (const [name, listener] of Object.entries(listeners)) window.addEventListener(name, listener);
  return () => end(null);
}
