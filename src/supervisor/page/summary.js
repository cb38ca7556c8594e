/** The line on top: all instances together; and the monitors. */
import { bytes, count, duration, percent } from "./format.js";
import { find, icon, setText } from "./parts.js";

/** @typedef {import("../supervision-state.js").SupervisionState} SupervisionState */

const summary = find(document, "#summary");
const monitors = find(document, "#monitors");

/** @param {SupervisionState} state */
export function showSummary({ instances }) {
  const sum = (/** @type {"restarts" | "failures" | "memory" | "cpu" | "inFlight"} */ name) =>
    instances.reduce((total, each) => total + (each[name] ?? 0), 0);
  const isReady = instances.filter(({ state }) => state === "ready").length;
  setTile("ready", `${count(isReady)} of ${count(instances.length)}`);
  const others = Map.groupBy(
    instances.filter(({ state }) => state !== "ready"),
    ({ state }) => state,
  );
  setText(
    find(summary, "[data-tile=ready] small"),
    [...others].map(([state, those]) => `${those.length} ${state}`).join(", "),
  );
  setTile("restarts", count(sum("restarts")));
  setTile("failures", count(sum("failures")));
  setTile("inFlight", count(sum("inFlight")));
  find(summary, "[data-tile=inFlight]").hidden = instances.every(
    (each) => each.inFlight === undefined,
  );
  setTile("memory", bytes(sum("memory")));
  setTile("cpu", percent(sum("cpu")));
}

/** @param {SupervisionState} state */
export function showMonitors({ monitors: all }) {
  const section = /** @type {HTMLElement} */ (monitors.parentElement);
  section.hidden = all.length === 0;
  monitors.replaceChildren(
    ...all.map(({ name, interval, runs, error }) => {
      const entry = document.createElement("li");
      const title = document.createElement("b");
      title.textContent = name;
      const text = document.createElement("span");
      text.textContent = ` every ${duration(interval)}, ${count(runs)} ${runs === 1 ? "run" : "runs"}`;
      entry.append(title, text);
      if (error !== undefined) {
        const problem = document.createElement("span");
        problem.className = "problem";
        problem.append(icon("waiting"), ` ${error}`);
        entry.append(problem);
      }
      return entry;
    }),
  );
}

/**
 * @param {string} name
 * @param {string} text
 */
function setTile(name, text) {
  setText(find(summary, `[data-tile=${name}] b`), text);
}
