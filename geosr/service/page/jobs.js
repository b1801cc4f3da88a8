// Orders, their progress on the map, and what has become of them.

import { ask, withKey } from "/page/api.js";
import { element, field } from "/page/dom.js";

const OFTEN_MS = 1000;
const SELDOM_MS = 15000;
const NAMES = { accepted: "waits", running: "runs", successful: "finished", failed: "failed", dismissed: "cancelled" };

export class Jobs {
  constructor(maps) {
    this.maps = maps;
    this.running = false;
  }

  begin(attempt) {
    this.attempt = attempt;
    if (this.running) return;
    this.running = true;
    this.#look();
  }

  async order(inputs) {
    await ask("/processes/upscale/execution", { method: "POST", json: { inputs }, prefer: "respond-async" });
    await this.#refresh();
  }

  async #look() {
    let active = false;
    try {
      active = await this.#refresh();
      field("jobs-section").removeAttribute("aria-busy");
    } catch {
      // The service may be starting again: jobs go on after that.
      field("jobs-section").setAttribute("aria-busy", "true");
      active = true;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#look(), active ? OFTEN_MS : SELDOM_MS);
  }

  async #refresh() {
    const { jobs } = await ask("/jobs?limit=20");
    const shown = jobs.filter((job) => job.status !== "dismissed");
    field("no-jobs").hidden = shown.length > 0;
    const rows = await Promise.all(shown.map((job) => this.#row(job)));
    const focused = document.activeElement?.closest("#jobs li")?.dataset.job;
    field("jobs").replaceChildren(...rows);
    // Rows are made anew, and whoever steers by keyboard stays where they are.
    if (focused) field("jobs").querySelector(`[data-job="${focused}"] button, [data-job="${focused}"] a`)?.focus();
    const current = shown.find((job) => job.status === "running");
    this.maps.shape("growth", current ? (await ask(`/jobs/${current.jobID}/growth`)).features : []);
    const active = shown.some((job) => job.status === "running" || job.status === "accepted");
    if (active && this.timer) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.#look(), OFTEN_MS);
    }
    return active;
  }

  async #row(job) {
    const title = element("div", {}, element("strong", { className: `status-${job.status}`, textContent: NAMES[job.status] }), ` ${job.created.slice(0, 16).replace("T", " ")}, ${describe(job.inputs)}`);
    const row = element("li", {}, title);
    row.dataset.job = job.jobID;
    row.dataset.status = job.status;
    if (job.status === "running" || job.status === "accepted") {
      const bar = element("progress", { max: 100, ariaLabel: "Progress" });
      if (job.status === "running" && job.chunks.all) bar.value = job.progress;
      const cancel = element("button", { type: "button", textContent: "Cancel" });
      cancel.addEventListener("click", () =>
        this.attempt(async () => {
          await ask(`/jobs/${job.jobID}`, { method: "DELETE" });
          await this.#refresh();
        }, cancel),
      );
      row.append(bar, element("p", { className: "hint", textContent: told(job) }), cancel);
    } else if (job.status === "successful") {
      row.append(await this.#downloads(job));
      if (job.inputs.sharpness) row.append(element("p", { className: "hint", textContent: "Sharpened to look like imagery: more of its detail is false, and it is not for measuring." }));
    } else {
      row.append(element("p", { className: "hint", textContent: job.message }));
    }
    return row;
  }

  async #downloads(job) {
    this.results ??= new Map();
    if (!this.results.has(job.jobID)) this.results.set(job.jobID, await ask(`/jobs/${job.jobID}/results`));
    const links = Object.entries(this.results.get(job.jobID)).map(([name, { href, length }]) => {
      const link = element("a", { href: withKey(href), textContent: `${name} (${size(length)})` });
      link.setAttribute("download", "");
      return link;
    });
    return element("p", { className: "links" }, ...links);
  }
}

function told(job) {
  const { finished, all } = job.chunks;
  const parts = [job.message];
  if (all) parts.push(`${finished} of ${all} chunks`);
  if (job.secondsLeft !== undefined) parts.push(`about ${time(job.secondsLeft)} left`);
  return parts.join(", ");
}

function describe(inputs) {
  const shown = [...field("scene").options].find((one) => one.value === inputs.scene)?.textContent;
  const what = shown ?? inputs.scene ?? inputs.item?.split("/").pop() ?? inputs.datetime;
  const parts = [what, inputs.bbox ? "a box" : null, inputs.uncertainty ? "with uncertainty" : null, inputs.sharpness ? `visual product, sharpness ${inputs.sharpness}` : null];
  return parts.filter(Boolean).join(", ");
}

const time = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`);
const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
