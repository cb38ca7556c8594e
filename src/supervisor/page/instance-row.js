/** The row of one instance. */
import { bytes, count, duration, milliseconds, percent } from "./format.js";
import { find, keyOf, labelOf, setText } from "./parts.js";
import { largest } from "./series.js";

/** @typedef {import("../supervision-state.js").InstanceState} InstanceState */

/** The labels of plots change this seldom: those who listen to one are not interrupted. */
const LABEL_MS = 5000;

const template = /** @type {HTMLTemplateElement} */ (document.querySelector("#row"));

export class InstanceRow {
  element;
  /** @type {InstanceState} */
  state;
  #parts;
  #plots;
  #series;
  #labelledAt = -Infinity;

  /**
   * @param {InstanceState} state
   * @param {import("./plots.js").Plots} plots
   * @param {import("./series.js").Series} series
   */
  constructor(state, plots, series) {
    this.state = state;
    this.#plots = plots;
    this.#series = series;
    const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
    this.element = find(copy, "tr");
    const part = (/** @type {string} */ selector) => find(this.element, selector);
    this.#parts = {
      num: part(".num"),
      name: part(".name"),
      pool: part(".pool"),
      status: part(".status"),
      icon: /** @type {SVGUseElement} */ (this.element.querySelector("use")),
      word: part(".word"),
      end: part(".end"),
      generation: part(".generation"),
      age: part(".age .value"),
      memory: part(".memory .value"),
      cpu: part(".cpu .value"),
      memoryPlot: part(".memory .plot"),
      cpuPlot: part(".cpu .plot"),
      loop: part(".loop .value"),
      delay: part(".loop .delay"),
      inFlight: part(".items .value"),
      done: part(".done"),
      restarts: part(".restarts .value"),
      failures: part(".failures"),
      restart: part("[data-do=restart]"),
      stacks: part("[data-do=stacks]"),
      heap: part("[data-do=heap]"),
    };
    for (const plot of [this.#parts.memoryPlot, this.#parts.cpuPlot]) {
      plot.setAttribute("role", "img");
      plots.add(plot, keyOf(state));
    }
    this.show(state);
  }

  /** @param {InstanceState} state */
  show(state) {
    this.state = state;
    const parts = this.#parts;
    setText(parts.num, String(state.num));
    setText(parts.name, state.name);
    setText(parts.pool, state.pool === undefined ? "" : `in pool ${state.pool}`);
    setText(parts.status, state.status);
    parts.status.title = state.status;
    if (this.element.dataset["state"] !== state.state) {
      this.element.dataset["state"] = state.state;
      parts.icon.setAttribute("href", `#${state.state}`);
    }
    setText(parts.word, state.state);
    const end = state.state === "ready" ? "" : (state.lastEnd ?? "");
    setText(parts.end, end);
    parts.end.title = end;
    setText(parts.generation, `gen. ${count(state.generation)}`);
    setText(parts.age, state.pid === undefined && state.age === 0 ? "–" : duration(state.age));
    setText(parts.memory, optional(state.memory, bytes));
    setText(parts.cpu, optional(state.cpu, percent));
    setText(parts.loop, optional(state.utilization, percent));
    setText(parts.delay, state.delay === undefined ? "" : milliseconds(state.delay));
    setText(parts.inFlight, optional(state.inFlight, count));
    setText(parts.done, state.items === undefined ? "" : `${count(state.items)} done`);
    setText(parts.restarts, count(state.restarts));
    setText(parts.failures, state.failures === 0 ? "" : `${count(state.failures)} failed`);
    this.#showButtons(state);
    this.#labelPlots(state);
  }

  /** @param {string} words in lower case */
  fits(words) {
    const { num, name, state, status, pool = "" } = this.state;
    return `${num} ${name} ${num} ${state} ${status} ${pool}`.toLowerCase().includes(words);
  }

  remove() {
    this.#plots.remove(this.#parts.memoryPlot);
    this.#plots.remove(this.#parts.cpuPlot);
    this.element.remove();
  }

  /** @param {InstanceState} state */
  #showButtons(state) {
    const { restart, stacks, heap } = this.#parts;
    const label = labelOf(state);
    setLabel(restart, `Restart ${label}`);
    setLabel(stacks, `Stacks of ${label}`);
    setLabel(heap, `Heap snapshot of ${label}`);
    const hasChild = state.state === "ready" || state.state === "stopping";
    setDisabled(restart, state.state === "ended");
    setDisabled(stacks, !hasChild || !state.isSupervised);
    setDisabled(heap, !hasChild || !state.isSupervised);
  }

  /** @param {InstanceState} state */
  #labelPlots(state) {
    const now = performance.now();
    if (now - this.#labelledAt < LABEL_MS) return;
    this.#labelledAt = now;
    const series = this.#series.get(keyOf(state));
    if (!series) return;
    const { memoryPlot, cpuPlot } = this.#parts;
    const { length } = series.marks;
    const marks = length === 0 ? "" : `, ${length} ${length === 1 ? "restart" : "restarts"}`;
    const over = `of ${labelOf(state)} over two minutes, at most`;
    setLabel(memoryPlot, `Memory ${over} ${bytes(largest(series.memory))}${marks}`);
    setLabel(cpuPlot, `CPU ${over} ${percent(largest(series.cpu))}${marks}`);
  }
}

/**
 * @param {number | undefined} value
 * @param {(value: number) => string} format
 */
function optional(value, format) {
  return value === undefined ? "–" : format(value);
}

/**
 * @param {HTMLElement} element
 * @param {string} label
 */
function setLabel(element, label) {
  if (element.getAttribute("aria-label") !== label) element.setAttribute("aria-label", label);
}

/**
 * Not by `disabled`, which takes the focus away from who has just pressed the button.
 *
 * @param {HTMLElement} element
 * @param {boolean} isDisabled
 */
function setDisabled(element, isDisabled) {
  const value = String(isDisabled);
  if (element.getAttribute("aria-disabled") !== value) element.setAttribute("aria-disabled", value);
}
