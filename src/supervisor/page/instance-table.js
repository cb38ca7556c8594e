/** The table of instances: its rows, their order, and which of them the filter leaves. */
import { bytes, percent } from "./format.js";
import { InstanceRow } from "./instance-row.js";
import { find, keyOf, setText } from "./parts.js";

/** @typedef {import("../supervision-state.js").InstanceState} InstanceState */
/** @typedef {"num" | "state" | "age" | "memory" | "cpu" | "utilization" | "inFlight" | "restarts"} Column */

/** Above, rows are lower. */
const ROOMY_ROWS = 10;
/** Values change all the time; rows that did so too could not be read. */
const SORT_MS = 5000;
/** Those that need attention first. */
const STATES = ["waiting", "ended", "stopping", "starting", "ready"];

const table = find(document, "#instances");
const body = find(table, "tbody");
const empty = find(document, "#empty");
const filter = /** @type {HTMLInputElement} */ (find(document, "#filter"));

export class InstanceTable {
  /** @type {Map<string, InstanceRow>} */
  #rows = new Map();
  #plots;
  #series;
  /** @type {{ column: Column, isDescending: boolean }} */
  #order = { column: "num", isDescending: false };
  #sortedAt = 0;

  /**
   * @param {import("./plots.js").Plots} plots
   * @param {import("./series.js").Series} series
   */
  constructor(plots, series) {
    this.#plots = plots;
    this.#series = series;
    for (const header of table.querySelectorAll("[data-sort] button")) {
      header.addEventListener("click", () => this.#sortBy(/** @type {HTMLElement} */ (header)));
    }
    filter.addEventListener("input", () => this.#filter());
  }

  /** @param {Element} element in a row */
  stateAt(element) {
    const row = element.closest("tr");
    return [...this.#rows.values()].find((each) => each.element === row)?.state;
  }

  /** @param {readonly InstanceState[]} instances */
  show(instances) {
    const gone = new Set(this.#rows.keys());
    let hasNew = false;
    for (const state of instances) {
      const key = keyOf(state);
      gone.delete(key);
      const row = this.#rows.get(key);
      if (row) {
        row.show(state);
        continue;
      }
      hasNew = true;
      this.#rows.set(key, new InstanceRow(state, this.#plots, this.#series));
    }
    for (const key of gone) {
      this.#rows.get(key)?.remove();
      this.#rows.delete(key);
    }
    table.classList.toggle("dense", this.#rows.size > ROOMY_ROWS);
    const hasNone = (/** @type {"utilization" | "inFlight" | "items"} */ name) =>
      instances.every((each) => each[name] === undefined);
    table.classList.toggle("no-utilization", hasNone("utilization"));
    table.classList.toggle("no-inFlight", hasNone("inFlight") && hasNone("items"));
    if (hasNew || performance.now() - this.#sortedAt > SORT_MS) this.#sort();
    this.#filter();
  }

  showScales() {
    setText(
      find(table, "[data-sort=memory] .scale"),
      `2 min, 0–${bytes(this.#plots.top("memory"))}`,
    );
    setText(find(table, "[data-sort=cpu] .scale"), `2 min, 0–${percent(this.#plots.top("cpu"))}`);
  }

  /** How many a restart of all means. */
  countRestartable() {
    return [...this.#rows.values()].filter(({ state }) => !state.isSupervisor).length;
  }

  #filter() {
    const words = filter.value.trim().toLowerCase();
    let shown = 0;
    for (const row of this.#rows.values()) {
      const fits = row.fits(words);
      if (row.element.hidden === fits) row.element.hidden = !fits;
      if (fits) shown += 1;
    }
    empty.hidden = shown > 0;
    setText(
      empty,
      this.#rows.size === 0 ? "There are no instances." : "No instance fits the filter.",
    );
  }

  /** @param {HTMLElement} button */
  #sortBy(button) {
    const header = find(/** @type {HTMLElement} */ (button.closest("tr")), "[aria-sort]");
    const chosen = /** @type {HTMLElement} */ (button.closest("th"));
    const column = /** @type {Column} */ (chosen.dataset["sort"]);
    // The largest first, but for names; the other way round by a second press.
    const isDescending =
      column === this.#order.column
        ? !this.#order.isDescending
        : column !== "num" && column !== "state";
    this.#order = { column, isDescending };
    header.removeAttribute("aria-sort");
    chosen.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
    this.#sort();
  }

  #sort() {
    this.#sortedAt = performance.now();
    const { column, isDescending } = this.#order;
    const rows = [...this.#rows.values()].sort((a, b) => {
      const difference = valueOf(a.state, column) - valueOf(b.state, column);
      const order = difference || byNum(a.state, b.state);
      return isDescending ? -order : order;
    });
    if (rows.every(({ element }, index) => body.children[index] === element)) return;
    const focused = document.activeElement;
    body.append(...rows.map(({ element }) => element));
    // What is moved loses the focus.
    if (focused instanceof HTMLElement && body.contains(focused))
      focused.focus({ preventScroll: true });
  }
}

/**
 * @param {InstanceState} state
 * @param {Column} column
 */
function valueOf(state, column) {
  if (column === "num") return 0;
  return column === "state" ? STATES.indexOf(state.state) : (state[column] ?? -1);
}

/**
 * @param {InstanceState} a
 * @param {InstanceState} b
 */
function byNum(a, b) {
  return (a.pool ?? "").localeCompare(b.pool ?? "") || a.num - b.num;
}
