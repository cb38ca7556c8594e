/** The options of `QueueWorker` that environment variables set, for machines whose programs are the same. */
import type { Rule } from "../option-rules.js";
import { describe } from "../system/describe.js";
import { QUEUE_WORKER_RULES, type QueueWorkerOptions } from "./worker-options.js";

/** How the text of a variable becomes a value; a text that is none stays one, and is refused by the rule of its option. */
const number = (text: string): unknown => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : text);
const boolean = (text: string): unknown =>
  text === "true" || text === "false" ? text === "true" : text;
const list = (text: string): unknown => text.split(",").map((each) => each.trim());
const text = (text: string): unknown => text;

const PARSERS: Partial<Record<keyof QueueWorkerOptions, (text: string) => unknown>> = {
  connection: text,
  prefix: text,
  startMethod: text,
  supervised: text,
  processes: number,
  fibers: number,
  prefetch: number,
  maxItemsPerChild: number,
  maxRss: number,
  timeout: number,
  crashTimeout: number,
  maxCrashes: number,
  stopTimeout: number,
  startupTimeout: number,
  queues: list,
  pool: boolean,
};

/**
 * @param env - one that is empty is not set
 * @throws TypeError that names the variable, what was expected and what came
 */
export function optionsFrom(env: NodeJS.ProcessEnv): QueueWorkerOptions {
  const options: Record<string, unknown> = {};
  for (const [name, parse] of Object.entries(PARSERS)) {
    const variable = variableOf(name);
    const given = env[variable];
    if (given === undefined || given === "") continue;
    const value = parse(given);
    const rule = QUEUE_WORKER_RULES[name as keyof QueueWorkerOptions] as Rule;
    if (!rule.accepts(value)) {
      throw new TypeError(
        `Expected the environment variable ${variable} to be ${EXPECTED[name] ?? rule.expected}, got ${name === "connection" ? "another text" : describe(given)}`,
      );
    }
    options[name] = value;
  }
  return options;
}

/** Of those whose text is not written as the value is. */
const EXPECTED: Readonly<Record<string, string>> = {
  queues: "names of queues with commas between, none of them empty, with a colon, or twice",
  pool: '"true" or "false"',
};

function variableOf(name: string): string {
  return `FORKMAP_${name.replaceAll(/[A-Z]/g, "_$&").toUpperCase()}`;
}
