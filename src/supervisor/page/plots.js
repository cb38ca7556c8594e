/**
 * The plots, drawn by uPlot. Those of all instances have the same two axes, so that they can be compared; only those on the screen are
 * drawn, at most once in `MIN_PAUSE_MS`.
 */
import { largest, roundUp, SPAN_S } from "./series.js";

/** @typedef {"memory" | "cpu"} Quantity */
/** @typedef {{ element: HTMLElement, of: Quantity, key: string | undefined, plot: uPlot | undefined, isSeen: boolean }} Plot */

const MIN_PAUSE_MS = 900;
/** A scale below would show noise. */
const MIN_CPU = 0.1;

export class Plots {
  /** @type {import("./series.js").Series} */
  #series;
  /** @type {Map<Element, Plot>} */
  #plots = new Map();
  #drawnAt = 0;
  #colours = colours();
  #tops = { memory: 1, cpu: MIN_CPU };
  #seen = new IntersectionObserver((entries) => this.#see(entries), { rootMargin: "50px" });
  #sizes = new ResizeObserver((entries) => this.#resize(entries));

  /** @param {import("./series.js").Series} series */
  constructor(series) {
    this.#series = series;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#colours = colours();
      this.draw(true);
    });
    document.addEventListener("visibilitychange", () => this.draw(true));
  }

  /**
   * @param {HTMLElement} element
   * @param {string | undefined} key undefined for all instances together
   */
  add(element, key) {
    const of = /** @type {Quantity} */ (element.dataset["of"]);
    this.#plots.set(element, { element, of, key, plot: undefined, isSeen: false });
    this.#seen.observe(element);
    this.#sizes.observe(element);
  }

  /** @param {HTMLElement} element */
  remove(element) {
    this.#plots.get(element)?.plot?.destroy();
    this.#plots.delete(element);
    this.#seen.unobserve(element);
    this.#sizes.unobserve(element);
  }

  /** The upper end of the scale that all instances share. @param {Quantity} of */
  top(of) {
    return this.#tops[of];
  }

  /** @param {boolean} isUrgent whether to draw even if this was done just now */
  draw(isUrgent = false) {
    const now = performance.now();
    if (document.hidden || (!isUrgent && now - this.#drawnAt < MIN_PAUSE_MS)) return;
    this.#drawnAt = now;
    this.#tops = {
      memory: roundUp(this.#series.max.memory),
      cpu: roundUp(Math.max(this.#series.max.cpu, MIN_CPU)),
    };
    for (const plot of this.#plots.values()) if (plot.isSeen) this.#drawOne(plot);
  }

  /** @param {Plot} plot */
  #drawOne(plot) {
    const { key, of } = plot;
    const values = key === undefined ? this.#series.total[of] : this.#series.get(key)?.[of];
    if (!values) return;
    plot.plot ??= this.#make(plot);
    // Two arrays of the same length, with null in the gaps.
    plot.plot?.setData([this.#series.times, values]);
  }

  /** @param {Plot} plot */
  #make({ element, key, of }) {
    const { clientWidth: width, clientHeight: height } = element;
    if (width === 0 || height === 0) return undefined;
    const series = this.#series;
    return new uPlot(
      {
        width,
        height,
        padding: [2, 0, 1, 0],
        legend: { show: false },
        cursor: { show: false },
        axes: [{ show: false }, { show: false }],
        scales: {
          x: { range: () => spanOf(series.times) },
          y: {
            range: () => [
              0,
              key === undefined ? roundUp(largest(series.total[of])) : this.#tops[of],
            ],
          },
        },
        series: [
          {},
          {
            stroke: () => this.#colours[of],
            fill: () => this.#colours[`${of}Fill`],
            width: 1.25,
            points: { show: false },
          },
        ],
        hooks: {
          drawClear: [(plot) => this.#drawBase(plot)],
          draw: [(plot) => this.#drawMarks(plot, key)],
        },
      },
      [[], []],
      element,
    );
  }

  /** @param {uPlot} plot */
  #drawBase({ ctx, bbox }) {
    // uPlot remembers what it has set.
    ctx.save();
    ctx.fillStyle = this.#colours.base;
    ctx.fillRect(bbox.left, bbox.top + bbox.height - 1, bbox.width, 1);
    ctx.restore();
  }

  /**
   * A dashed line with a triangle at its top where another child has taken over.
   *
   * @param {uPlot} plot
   * @param {string | undefined} key
   */
  #drawMarks(plot, key) {
    const marks = key === undefined ? [] : (this.#series.get(key)?.marks ?? []);
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = this.#colours.mark;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([2 * devicePixelRatio, 2 * devicePixelRatio]);
    const half = 3 * devicePixelRatio;
    for (const mark of marks) {
      const x = Math.round(plot.valToPos(mark, "x", true)) + 0.5;
      if (x < bbox.left) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x - half, bbox.top);
      ctx.lineTo(x + half, bbox.top);
      ctx.lineTo(x, bbox.top + half * 1.5);
      ctx.fill();
    }
    ctx.restore();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #see(entries) {
    for (const { target, isIntersecting } of entries) {
      const plot = this.#plots.get(target);
      if (!plot) continue;
      plot.isSeen = isIntersecting;
      if (isIntersecting) this.#drawOne(plot);
    }
  }

  /** @param {ResizeObserverEntry[]} entries */
  #resize(entries) {
    for (const { target, contentRect } of entries) {
      const { width, height } = contentRect;
      const plot = this.#plots.get(target);
      if (!plot || width === 0 || height === 0) continue;
      if (plot.plot) plot.plot.setSize({ width: Math.floor(width), height: Math.floor(height) });
      else if (plot.isSeen) this.#drawOne(plot);
    }
  }
}

/**
 * @param {number[]} times
 * @returns {[number, number]}
 */
function spanOf(times) {
  const end = times.at(-1) ?? Date.now() / 1000;
  return [end - SPAN_S, end];
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  return {
    memory: colour("memory"),
    cpu: colour("cpu"),
    memoryFill: colour("memory-fill"),
    cpuFill: colour("cpu-fill"),
    mark: colour("mark"),
    base: colour("line"),
  };
}
