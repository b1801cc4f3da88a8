// Small charts in SVG.

import { element } from "/page/dom.js";

const NS = "http://www.w3.org/2000/svg";
const SIZE = { width: 300, height: 130, left: 34, right: 6, top: 6, bottom: 18 };

function shape(name, attributes, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Lines over x; `series` have a name, values (null for none), a colour, `dashed`, and `points` with bars of `half`.
export function chart({ title, x, series, unit, ticks }) {
  const { width, height, left, right, top, bottom } = SIZE;
  const values = series.flatMap(({ values: own, half }) => own.flatMap((value, i) => (value === null ? [] : [value - (half?.[i] ?? 0), value + (half?.[i] ?? 0)])));
  const low = Math.min(...values);
  const high = Math.max(...values, low + 1e-6);
  const across = (value) => left + ((value - x[0]) / (x.at(-1) - x[0] || 1)) * (width - left - right);
  const up = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: from ${low.toFixed(3)} to ${high.toFixed(3)}` });
  const small = { "font-size": 10, fill: "currentColor" };
  for (const value of [low, high]) svg.append(shape("text", { x: left - 4, y: up(value) + (value === high ? 8 : 0), "text-anchor": "end", ...small }, value.toFixed(2)));
  const marks = ticks ?? [[x[0], "0"], [x.at(-1), `${Math.round(x.at(-1))} ${unit}`]];
  marks.forEach(([place, text], i) => svg.append(shape("text", { x: across(place), y: height - 5, "text-anchor": i === 0 ? "start" : i === marks.length - 1 ? "end" : "middle", ...small }, text)));
  svg.append(shape("path", { d: `M${left} ${top}V${height - bottom}H${width - right}`, stroke: "currentColor", "stroke-opacity": 0.4, fill: "none" }));
  for (const { values: line, colour, dashed, points, half } of series) {
    let path = "";
    line.forEach((value, i) => {
      if (value !== null) path += `${i === 0 || line[i - 1] === null ? "M" : "L"}${across(x[i]).toFixed(1)} ${up(value).toFixed(1)}`;
    });
    if (points) {
      line.forEach((value, i) => {
        if (value === null) return;
        const place = across(x[i]);
        if (half?.[i]) svg.append(shape("path", { d: `M${place} ${up(value - half[i])}V${up(value + half[i])}`, stroke: colour }));
        svg.append(shape("circle", { cx: place, cy: up(value), r: 3, fill: colour }));
      });
    }
    svg.append(shape("path", { d: path, stroke: colour, "stroke-width": 1.5, fill: "none", ...(dashed && { "stroke-dasharray": "3 3", "stroke-opacity": 0.75 }) }));
  }
  const key = series.filter((one) => one.name).flatMap(({ name, colour, dashed }) => {
    const mark = element("span", { className: "key" });
    mark.style.borderTopColor = colour;
    if (dashed) mark.style.borderTopStyle = "dashed";
    return [mark, name];
  });
  return element("figure", {}, svg, element("figcaption", {}, title, ...key));
}
