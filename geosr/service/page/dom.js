// Elements of the page, made and found.

export const field = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function say(message) {
  field("message").hidden = !message;
  field("message").textContent = message ?? "";
}
