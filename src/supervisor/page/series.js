/**
 * What the plots show: memory and CPU of every instance over the last two minutes, on one time axis that all share. Where another child
 * has taken over, the line has a gap and a mark.
 */

/** @typedef {{ time: number, values: Record<string, [number, number | null, number | null]> }} Sample */

/** Of all plots, in seconds. */
export const SPAN_S = 120;
/** In which nothing was heard, as the connection was lost: the line breaks. */
const GAP_S = 5;

class Instance {
  /** @type {(number | null)[]} */
  memory;
  /** @type {(number | null)[]} */
  cpu;
  /** @type {number | undefined} */
  generation;
  /** When another child has taken over, in seconds. @type {number[]} */
  marks = [];

  /** @param {number} length */
  constructor(length) {
    this.memory = Array.from({ length }, () => null);
    this.cpu = Array.from({ length }, () => null);
  }
}

export class Series {
  /** In seconds since the epoch. @type {number[]} */
  times = [];
  /** @type {Map<string, Instance>} */
  #instances = new Map();
  /** Of all instances together. */
  total = new Instance(0);
  /** The largest value of any instance that is shown. */
  max = { memory: 0, cpu: 0 };

  clear() {
    this.times = [];
    this.#instances.clear();
    this.total = new Instance(0);
  }

  /** @param {string} key */
  get(key) {
    return this.#instances.get(key);
  }

  /** @param {Sample} sample */
  add({ time, values }) {
    const seconds = time / 1000;
    const last = this.times.at(-1);
    if (last !== undefined && seconds <= last) return;
    if (last !== undefined && seconds - last > GAP_S) this.#push(last + 1, {});
    this.#push(seconds, values);
    this.#drop(this.times.findIndex((each) => each >= seconds - SPAN_S - 2));
    this.#measure();
  }

  /**
   * @param {number} time
   * @param {Sample["values"]} values
   */
  #push(time, values) {
    let [memory, cpu] = [0, 0];
    for (const [key, [generation, itsMemory, itsCpu]] of Object.entries(values)) {
      let instance = this.#instances.get(key);
      if (!instance) this.#instances.set(key, (instance = new Instance(this.times.length)));
      const isOther = instance.generation !== undefined && instance.generation !== generation;
      if (isOther) instance.marks.push(time);
      instance.generation = generation;
      instance.memory.push(isOther ? null : itsMemory);
      instance.cpu.push(isOther ? null : itsCpu);
      memory += itsMemory ?? 0;
      cpu += itsCpu ?? 0;
    }
    this.times.push(time);
    const isSilent = Object.keys(values).length === 0;
    this.total.memory.push(isSilent ? null : memory);
    this.total.cpu.push(isSilent ? null : cpu);
    for (const { memory, cpu } of this.#instances.values()) {
      if (memory.length === this.times.length) continue;
      memory.push(null);
      cpu.push(null);
    }
  }

  /** @param {number} count */
  #drop(count) {
    if (count <= 0) return;
    this.times.splice(0, count);
    const start = this.times[0] ?? 0;
    for (const each of [this.total, ...this.#instances.values()]) {
      each.memory.splice(0, count);
      each.cpu.splice(0, count);
      each.marks = each.marks.filter((mark) => mark >= start);
    }
    for (const [key, { memory }] of this.#instances) {
      if (memory.every((value) => value === null)) this.#instances.delete(key);
    }
  }

  #measure() {
    this.max = { memory: 0, cpu: 0 };
    for (const { memory, cpu } of this.#instances.values()) {
      this.max.memory = Math.max(this.max.memory, largest(memory));
      this.max.cpu = Math.max(this.max.cpu, largest(cpu));
    }
  }
}

/** @param {(number | null)[]} values */
export function largest(values) {
  let max = 0;
  for (const value of values) if (value !== null && value > max) max = value;
  return max;
}

/** The next number above that is easy to read: 1, 2, 2.5, 5 or 10 times a power of ten. @param {number} value */
export function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10].find((each) => each * power >= value) ?? 10;
  return factor * power;
}
