/** Metrics of nums as a supervisor knows them, and a page for Prometheus, taken apart. */
import type { NumMetric, NumMetrics } from "../../src/supervisor/metric-families.js";

export function numOf(num: number, facts: Partial<NumMetrics> = {}): NumMetrics {
  const known = { pool: undefined, name: "web", state: "ready", restarts: 0, failures: 0 } as const;
  return { num, ...known, metrics: new Map(), ...facts };
}

export function counter(value: number, facts: Partial<NumMetric> = {}): NumMetric {
  return { value, type: "counter", help: "A counter.", byNum: true, ...facts };
}

export function gauge(value: number, facts: Partial<NumMetric> = {}): NumMetric {
  return { value, type: "gauge", help: "A gauge.", byNum: true, ...facts };
}

const SAMPLE = /^([a-zA-Z_]\w*\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\}) (\S+)$/;

/** @throws Error for a line that is not of the text format 0.0.4, and for a series that is there twice */
export function parse(text: string) {
  const series: Record<string, number> = {};
  const types: Record<string, string> = {};
  const helps: Record<string, string> = {};
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [, what, name, words] = /^# (HELP|TYPE) (\w+) (.*)$/.exec(line) ?? [];
    if (what === "HELP") helps[name!] = words!;
    else if (what === "TYPE") types[name!] = words!;
    else {
      const [, key, value] = SAMPLE.exec(line) ?? [];
      if (key === undefined || key in series) throw new Error(`Unexpected line: ${line}`);
      series[key] = Number(value);
    }
  }
  return { series, types, helps };
}
