// Requests to the service: the key, and what goes wrong as one sentence.

import { field } from "/page/dom.js";

const STORED = "geosr-key";
const AGAIN_MS = 3000;

export const key = {
  get: () => sessionStorage.getItem(STORED),
  set: (value) => sessionStorage.setItem(STORED, value),
};

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function headers(more = {}) {
  const own = key.get();
  return own ? { ...more, "X-API-Key": own } : more;
}

export async function ask(path, { method = "GET", json, body, type, prefer } = {}) {
  const sent = headers(json ? { "Content-Type": "application/json" } : type ? { "Content-Type": type } : {});
  if (prefer) sent.Prefer = prefer;
  let answer;
  try {
    answer = await fetch(path, { method, headers: sent, body: json ? JSON.stringify(json) : body });
  } catch {
    offline();
    throw new Refused(null, 0);
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(content?.detail ?? `The service answered ${answer.status}.`, answer.status);
  return content;
}

// A picture that needs the key, which images do not send; none where it cannot be had.
export async function loadPicture(path, picture) {
  const answer = await fetch(path, { headers: headers() }).catch(() => null);
  if (!answer?.ok) return;
  picture.addEventListener("load", () => URL.revokeObjectURL(picture.src), { once: true });
  picture.src = URL.createObjectURL(await answer.blob());
}

let asking = null;

// Say that the service does not answer, until it does.
export function offline() {
  field("offline").hidden = false;
  if (asking) return;
  asking = setInterval(async () => {
    const answer = await fetch("/healthz").catch(() => null);
    if (!answer?.ok) return;
    clearInterval(asking);
    asking = null;
    field("offline").hidden = true;
    window.dispatchEvent(new Event("answers-again"));
  }, AGAIN_MS);
}
