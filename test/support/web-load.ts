/** Constant requests over connections that are kept alive, and what became of them. */
import autocannon, { type Result } from "autocannon";

export interface LoadOptions {
  readonly url: string;
  readonly connections: number;
  /** Requests a second, over all connections. */
  readonly rate: number;
}

export interface Load {
  /** Those that failed, by what they failed with. */
  readonly errors: Readonly<Record<string, number>>;
  /** Ends it. */
  stop(): Promise<Result>;
}

/** Longer than any test. */
const DURATION_S = 900;

export function startLoad({ url, connections, rate }: LoadOptions): Load {
  const errors: Record<string, number> = {};
  let resolve!: (result: Result) => void;
  let reject!: (error: unknown) => void;
  const result = new Promise<Result>((...both) => ([resolve, reject] = both));
  const load = autocannon(
    { url, connections, overallRate: rate, duration: DURATION_S, timeout: 30 },
    (error: unknown, all: Result) => (error ? reject(error) : resolve(all)),
  );
  load.on("reqError", (error: NodeJS.ErrnoException) => {
    const name = error.code ?? error.message;
    errors[name] = (errors[name] ?? 0) + 1;
  });
  return {
    errors,
    stop: async () => {
      load.stop?.();
      return await result;
    },
  };
}

/** Those that were not answered with 200. */
export function failuresOf({ errors, timeouts, non2xx, mismatches }: Result): number {
  return errors + timeouts + non2xx + mismatches;
}
