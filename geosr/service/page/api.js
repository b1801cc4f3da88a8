// Requests to the service: the key, and what goes wrong as one sentence.

const STORED = "geosr-key";

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
    throw new Refused("The service does not answer. It is tried again.", 0);
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(content?.detail ?? `The service answered ${answer.status}.`, answer.status);
  return content;
}
