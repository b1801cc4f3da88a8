// Orders, their progress on the map, and what has become of them.

import { ask, loadPicture } from "/page/api.js";
import { element, field } from "/page/dom.js";
import { state } from "/page/state.js";

const OFTEN_MS = 1000;
const SELDOM_MS = 15000;
// Links that hold no longer than that are asked for anew.
const LINK_LEFT_MS = 60 * SELDOM_MS;
const LINKS = { report: "situation map", report_pdf: "situation map, PDF" };
const NAMES = { accepted: "waits", running: "runs", successful: "finished", failed: "failed", dismissed: "cancelled" };

export class Jobs {
  // `show` takes a finished job to the map; `changed` is called when finished jobs came, went or were renamed.
  constructor(maps, { show, changed }) {
    this.maps = maps;
    this.show = show;
    this.changed = changed;
    this.running = false;
    this.results = new Map();
  }

  async begin(attempt) {
    this.attempt = attempt;
    if (this.running) return;
    this.running = true;
    await this.#look();
  }

  async order({ process, inputs }) {
    await ask(`/processes/${process}/execution`, { method: "POST", json: { inputs }, prefer: "respond-async" });
    await this.#refresh();
  }

  async #look() {
    let active = false;
    try {
      active = await this.#refresh();
      field("results").removeAttribute("aria-busy");
    } catch {
      // The service may be starting again: jobs go on after that.
      field("results").setAttribute("aria-busy", "true");
      active = true;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#look(), active ? OFTEN_MS : SELDOM_MS);
  }

  async #refresh() {
    const { jobs } = await ask("/jobs?limit=20");
    const shown = jobs.filter((job) => job.status !== "dismissed");
    const finished = shown.filter((job) => job.status === "successful");
    await Promise.all(finished.map((job) => this.#fetchResults(job)));
    this.#keepProducts(finished);
    field("no-jobs").hidden = shown.length > 0;
    this.#list(shown);
    const current = shown.find((job) => job.status === "running");
    this.maps.shape("growth", current ? (await ask(`/jobs/${current.jobID}/growth`)).features : []);
    const active = shown.some((job) => job.status === "running" || job.status === "accepted");
    if (active && this.timer) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.#look(), OFTEN_MS);
    }
    return active;
  }

  #keepProducts(finished) {
    const now = finished.map((job) => [job.jobID, { id: job.jobID, title: nameOf(job), inputs: job.inputs, process: job.processID }]);
    const text = JSON.stringify(now);
    if (text === this.kept) return;
    this.kept = text;
    state.products = new Map(now);
    this.changed();
  }

  async #fetchResults(job) {
    // Downloads are links, and those send no headers: they are signed instead, for some hours.
    const known = this.results.get(job.jobID);
    const soon = Date.now() + LINK_LEFT_MS;
    if (known && Object.values(known).every(({ expires }) => Date.parse(expires) > soon)) return;
    this.results.set(job.jobID, await ask(`/jobs/${job.jobID}/links`));
    for (const row of field("jobs").children) if (known && row.dataset.job === job.jobID) row.querySelector(".links")?.replaceWith(this.#downloads(job));
  }

  // Rows stay the elements that they are, in their places: whoever steers by keyboard stays where they are.
  #list(shown) {
    const list = field("jobs");
    const ids = new Set(shown.map((job) => job.jobID));
    for (const row of [...list.children]) {
      if (ids.has(row.dataset.job)) continue;
      if (row.contains(document.activeElement)) summary().focus();
      row.remove();
    }
    const rows = new Map([...list.children].map((row) => [row.dataset.job, row]));
    let next = list.firstElementChild;
    for (const job of shown) {
      const row = rows.get(job.jobID);
      if (!row) {
        list.insertBefore(this.#row(job), next);
        continue;
      }
      next = row.nextElementSibling;
      this.#update(row, job);
    }
  }

  #update(row, job) {
    if (row.dataset.status === job.status) {
      const what = row.querySelector(".what");
      // Not while it is given a name.
      if (what) what.textContent = described(job);
      const bar = row.querySelector("progress");
      if (!bar) return;
      progress(bar, job);
      row.querySelector(".hint").textContent = told(job);
      return;
    }
    const made = this.#row(job);
    const focused = row.contains(document.activeElement);
    row.replaceWith(made);
    if (focused) (made.querySelector("a, button") ?? summary()).focus();
  }

  #row(job) {
    const title = element("div", {}, element("strong", { className: `status-${job.status}`, textContent: NAMES[job.status] }), " ", element("span", { className: "what", textContent: described(job) }));
    const row = element("li", {}, title);
    row.dataset.job = job.jobID;
    row.dataset.status = job.status;
    if (job.status === "running" || job.status === "accepted") {
      const bar = element("progress", { max: 100, ariaLabel: "Progress" });
      progress(bar, job);
      row.append(bar, element("p", { className: "hint", textContent: told(job) }), this.#remover(job, "Cancel"));
    } else if (job.status === "successful") this.#finished(row, title, job);
    else row.append(element("p", { className: "hint", textContent: job.message }), this.#remover(job, "Delete"));
    return row;
  }

  #finished(row, title, job) {
    row.className = "done";
    const picture = element("img", { alt: "", loading: "lazy" });
    loadPicture(`/jobs/${job.jobID}/files/${job.processID === "change" ? "change" : "product"}_preview.png`, picture);
    const show = element("button", { type: "button", textContent: "Show" });
    show.addEventListener("click", () => this.show(job, show));
    const rename = element("button", { type: "button", textContent: "Rename" });
    rename.addEventListener("click", () => this.#rename(row, job));
    const parts = [title, element("div", { className: "buttons" }, show, rename, this.#remover(job, "Delete")), this.#downloads(job)];
    if (job.inputs.sharpness) parts.push(element("p", { className: "hint", textContent: "Sharpened to look like imagery: more of its detail is false, and it is not for measuring." }));
    row.append(picture, element("div", {}, ...parts));
  }

  // Before it is deleted, so that the map asks for none of its tiles any more.
  async #withdraw(job) {
    if (!state.products.delete(job.jobID)) return;
    this.kept = null;
    await this.changed();
  }

  #remover(job, textContent) {
    const button = element("button", { type: "button", textContent });
    button.addEventListener("click", async () => {
      await this.attempt(async () => {
        await this.#withdraw(job);
        await ask(`/jobs/${job.jobID}`, { method: "DELETE" });
        await this.#refresh();
      }, button);
      // It lost the focus meanwhile, for it could not be used.
      (button.isConnected ? button : summary()).focus();
    });
    return button;
  }

  // A field in the place of the name; Enter keeps what it has, Escape does not.
  #rename(row, job) {
    const what = row.querySelector(".what");
    const input = element("input", { value: job.title ?? "", maxLength: 120, ariaLabel: "Name of the result", placeholder: described(job) });
    what.replaceWith(input);
    input.focus();
    let over = false;
    const end = async (kept) => {
      if (over) return;
      over = true;
      input.replaceWith(what);
      if (kept) {
        const changed = await this.attempt(() => ask(`/jobs/${job.jobID}`, { method: "PATCH", json: { title: input.value } }));
        if (changed) {
          job.title = changed.title;
          what.textContent = described(job);
          await this.attempt(() => this.#refresh());
        }
      }
      row.querySelectorAll(".buttons button")[1].focus();
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") end(false);
    });
    input.addEventListener("blur", () => end(true));
  }

  #downloads(job) {
    const found = this.results.get(job.jobID);
    const links = Object.entries(found).map(([name, { href, length }]) => {
      const textContent = name === "bundle" ? "all as zip" : `${LINKS[name] ?? name} (${size(length)})`;
      const link = element("a", { href: ofThisAddress(href), textContent });
      link.setAttribute("download", "");
      return link;
    });
    return element("p", { className: "links" }, ...links);
  }
}

// The page may have been reached by another name than links have.
const ofThisAddress = (href) => new URL(href, location.href).pathname;

// Where the focus goes when what had it is no more.
const summary = () => field("results-title");

// A job that has not begun, or does not know its chunks yet, has a bar without a value.
function progress(bar, job) {
  if (job.status === "running" && job.chunks.all) bar.value = job.progress;
}

const nameOf = (job) => job.title ?? `${job.processID === "change" ? "change, " : ""}${job.created.slice(0, 16).replace("T", " ")}${job.inputs.bbox ? ", a box" : ""}`;

const described = (job) => job.title ?? `${job.created.slice(0, 16).replace("T", " ")}, ${describe(job.inputs)}`;

function told(job) {
  const { finished, all } = job.chunks;
  const parts = [job.message];
  if (all) parts.push(`${finished} of ${all} chunks`);
  if (job.secondsLeft !== undefined) parts.push(`about ${time(job.secondsLeft)} left`);
  return parts.join(", ");
}

function describe(inputs) {
  const shown = (id) => [...field("scene").options].find((one) => one.value === id)?.textContent;
  if (inputs.before) return [`change of ${(inputs.index ?? "ndwi").toUpperCase()}`, `${shown(inputs.before) ?? inputs.before} to ${shown(inputs.after) ?? inputs.after}`, inputs.bbox ? "a box" : null].filter(Boolean).join(", ");
  const what = shown(inputs.scene) ?? inputs.scene ?? inputs.item?.split("/").pop() ?? inputs.datetime;
  const parts = [what, inputs.others ? `${inputs.others.length + 1} dates` : null, inputs.bbox ? "a box" : null, inputs.uncertainty ? "with uncertainty" : null, inputs.sharpness ? `visual product, sharpness ${inputs.sharpness}` : null];
  return parts.filter(Boolean).join(", ");
}

const time = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`);
const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
