// Elements of the page, made and found, and what the page says.

export const field = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function say(message) {
  field("message").hidden = !message;
  field("message").firstElementChild.textContent = message ?? "";
}

let fading = null;

// A word on what has been done, for some seconds.
export function tell(text) {
  field("status").hidden = false;
  field("status").textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => (field("status").hidden = true), 4000);
}

export const options = (pairs, chosen) => pairs.map(([value, textContent]) => element("option", { value, textContent, selected: value === chosen }));
