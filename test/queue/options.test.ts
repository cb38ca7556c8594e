/** Options of a queue worker are its own, those of `configure`, of the environment, or the defaults; what is wrong is named. */
import { afterEach, expect, test, vi } from "vitest";
import { CommandWorker, ParallelWorker } from "forkmap";
import { QueueWorker } from "forkmap/bullmq";
import { configure } from "../../src/queue/configure.js";
import { resolveQueueWorkerOptions } from "../../src/queue/resolve-options.js";
import type { QueueWorkerOptions } from "../../src/queue/worker-options.js";

class Resize extends ParallelWorker {
  static workerName = "resize@1";

  process(text: string): string {
    return text;
  }
}

afterEach(() => {
  configure({ processes: undefined, fibers: undefined, queues: undefined, connection: undefined });
  vi.unstubAllEnvs();
});

const resolve = resolveQueueWorkerOptions;

test("each option is taken from the first that sets it", () => {
  const env = { FORKMAP_PROCESSES: "3", FORKMAP_FIBERS: "4", FORKMAP_QUEUES: "a, b" };
  expect(resolve({}, env)).toMatchObject({ processes: 3, slots: 12, queues: ["a", "b"] });
  configure({ processes: 5 });
  configure({ fibers: 2 });
  expect(resolve({}, env)).toMatchObject({ processes: 5, slots: 10, prefetch: 20 });
  expect(resolve({ processes: 1, fibers: undefined }, env)).toMatchObject({ slots: 2 });
  configure({ processes: undefined });
  expect(resolve({}, env)).toMatchObject({ processes: 3, slots: 6 });
});

test("defaults are those that are documented", () => {
  expect(resolve({}, { PARALLEL_PROCESSOR_COUNT: "9" })).toEqual({
    given: {},
    server: {
      connection: "redis://127.0.0.1:6379",
      prefix: "bull",
      crashTimeout: 10_000,
      maxCrashes: 5,
      keepRun: 604_800_000,
    },
    queues: [],
    processes: expect.any(Number) as number,
    slots: expect.any(Number) as number,
    prefetch: expect.any(Number) as number,
    pool: true,
    retry: { min: 1000, max: 30_000, factor: 2 },
    stopTimeout: 30_000,
    signals: true,
  });
  expect(resolve({ processes: 2, fibers: 5 }, {}).prefetch).toBe(20);
});

test.each<[string, QueueWorkerOptions, string]>([
  ["a number", { processes: 0 }, "Expected `processes` to be a whole number from 1 to 1024, got 0"],
  ["a URL", { connection: "http://host" }, 'Expected `connection` to be a URL such as "redis:'],
  [
    "queues",
    { queues: ["a", "b:c"] },
    'Expected `queues` to be an array of names of queues, none of them empty, with a colon, or twice, got an array with "b:c" (a string)',
  ],
  ["queues", { queues: ["a", "a"] }, 'got an array with "a" (a string) twice'],
  ["queues", { queues: "a" }, 'or twice, got "a" (a string)'],
  ["a logger", { logger: {} }, "Expected `logger` to be an object with functions `info`, `warn`"],
  ["a dispatcher", { dispatcher: {} as never }, "Expected `dispatcher` to be a function (job) =>"],
  ["middleware", { middleware: [1 as never] }, "Expected `middleware` to be an array of functions"],
  ["a pause", { retry: { min: -1 } }, "Expected `retry.min` to be a number of ms from 0 to"],
  ["an unknown one", { threads: 2 } as object, "Unknown option `threads` of QueueWorker. There"],
  ["fibers without children that stay", { fibers: 2, pool: false }, "The option `fibers` needs"],
])("%s that is wrong is a TypeError that says what was expected", (_, options, message) => {
  expect(() => new QueueWorker([new Resize()], options)).toThrow(TypeError);
  expect(() => new QueueWorker([new Resize()], options)).toThrow(message);
});

test.each<[string, string, string]>([
  ["FORKMAP_FIBERS", "many", 'to be a whole number from 1 to 1024, got "many" (a string)'],
  ["FORKMAP_POOL", "no", 'to be "true" or "false", got "no" (a string)'],
  ["FORKMAP_QUEUES", "a,,b", "to be names of queues with commas between, none of them empty"],
  ["FORKMAP_CONNECTION", "secret@host", "to be a URL such as"],
  ["FORKMAP_START_METHOD", "thread", 'to be "fork" or "spawn", got "thread" (a string)'],
])("the environment variable %s that is wrong is named", (name, value, message) => {
  vi.stubEnv(name, value);
  const make = () => new QueueWorker([new Resize()]);
  expect(make).toThrow(new RegExp(`^Expected the environment variable ${name} `));
  expect(make).toThrow(message);
  expect(make).not.toThrow("secret");
});

test("workers that cannot be served are refused", () => {
  class Unnamed extends ParallelWorker {
    process(text: string): string {
      return text;
    }
  }
  class Program extends CommandWorker {
    static workerName = "program@1";
  }
  const make = (workers: unknown, options = {}) => {
    return () => new QueueWorker(workers as [], options);
  };
  expect(make([])).toThrow("Expected an array of workers, such as [new Resize()], got an empty");
  expect(make(new Resize())).toThrow(
    "Expected an array of workers, such as [new Resize()], got an",
  );
  expect(make([new Unnamed()])).toThrow("Expected the class Unnamed to have a name that all mach");
  expect(make([new Resize(), new Resize()])).toThrow('got two that are called "resize@1"');
  expect(make([{}])).toThrow("Expected a function, or an instance of a class");
  const limits = { memory: 1e9 };
  expect(make([new Program({ argv: ["true"] })], { limits })).toThrow(
    "The option `limits` is not for a CommandWorker",
  );
});
