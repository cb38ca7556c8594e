/** A program of a controller (fixtures/serving/controlled) in a directory of its own, where a test may change its code. */
import { type ChildProcess, type Serializable, spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { fileURLToPath } from "node:url";
import type { ControllerOptions, RunOptions, SocketAddress } from "forkmap/container";
import { afterEach, vi } from "vitest";
import { ask } from "./serving.js";
import { SOON } from "./soon.js";
import { temporaryDirectory } from "./temporary.js";

const SOURCE = fileURLToPath(new URL("../fixtures/serving/controlled", import.meta.url));
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export interface ControlledOptions {
  readonly count?: number;
  readonly run?: RunOptions;
  readonly controller?: ControllerOptions;
  readonly throwsAt?: readonly number[];
  readonly listens?: boolean;
  readonly calls?: readonly string[];
  readonly orphanUntil?: string;
}

export interface Seen {
  readonly version: string;
  readonly num: number;
  readonly generation: number;
  readonly pid: number;
}

export interface Started {
  readonly env?: NodeJS.ProcessEnv;
  /** A command that starts Node, such as `unshare`. */
  readonly command?: readonly string[];
}

const running = new Set<Controlled>();

export class Controlled {
  readonly folder = temporaryDirectory();
  readonly process: ChildProcess;
  readonly ended: Promise<{ code: number | null; signal: string | null }>;
  stdout = "";
  stderr = "";

  constructor(options: ControlledOptions = {}, { env = {}, command = [] }: Started = {}) {
    mkdirSync(`${this.folder}/node_modules`);
    symlinkSync(ROOT, `${this.folder}/node_modules/forkmap`);
    for (const name of ["app.mjs", "site.mjs"]) {
      copyFileSync(`${SOURCE}/${name}`, `${this.folder}/${name}`);
    }
    const [program, ...args] = [...command, process.execPath, `${this.folder}/app.mjs`];
    this.process = spawn(program!, args, {
      // 4 is one for the program to tell how it is.
      stdio: ["ignore", "pipe", "pipe", "ipc", "pipe"],
      env: { ...process.env, OPTIONS: JSON.stringify(options), ...env },
    });
    for (const name of ["stdout", "stderr"] as const) {
      this.process[name]!.setEncoding("utf8").on("data", (chunk: string) => (this[name] += chunk));
    }
    this.ended = once(this.process, "close").then(([code, signal]) => {
      running.delete(this);
      return { code, signal } as { code: number | null; signal: string | null };
    });
    running.add(this);
  }

  /** Starts it and waits until all instances are ready. */
  static async ready(options: ControlledOptions = {}, started: Started = {}): Promise<Controlled> {
    const program = new Controlled(options, started);
    const { count = 2 } = options;
    await program.until(() => program.stderr.includes(`${count} of ${count} instances ready`));
    return program;
  }

  get facts(): Record<string, unknown>[] {
    const lines = this.stdout.split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  get address(): SocketAddress {
    return this.facts[0]!["address"] as SocketAddress;
  }

  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  /** Calls a method of the controller; resolves with how that ended. */
  async call(method: string, ...args: unknown[]): Promise<Record<string, unknown>> {
    const answer = new Promise<Record<string, unknown>>((resolve) => {
      const hear = (message: Serializable) => {
        const told = message as Record<string, unknown>;
        if (told["method"] !== method) return;
        this.process.off("message", hear);
        resolve(told);
      };
      this.process.on("message", hear);
    });
    this.process.send({ method, args });
    return await answer;
  }

  async ask(path = "/"): Promise<Seen> {
    return JSON.parse((await ask(this.address, path)).body) as Seen;
  }

  /** Asks until all instances have answered; returns what each said, by num. */
  async all(count = 2, isWanted: (seen: Seen) => boolean = () => true): Promise<Seen[]> {
    const seen = new Map<number, Seen>();
    await vi.waitUntil(async () => {
      const each = await this.ask();
      if (isWanted(each)) seen.set(each.num, each);
      return seen.size === count;
    }, SOON);
    return [...seen.values()].toSorted((one, other) => one.num - other.num);
  }

  /** Replaces text in the module of the service. */
  edit(from: string, to: string): void {
    const file = `${this.folder}/site.mjs`;
    const text = readFileSync(file, "utf8");
    if (!text.includes(from)) throw new Error(`no ${from} in ${file}`);
    writeFileSync(`${file}.new`, text.replace(from, to));
    renameSync(`${file}.new`, file);
  }

  async until(isSo: () => boolean): Promise<void> {
    try {
      await vi.waitUntil(isSo, SOON);
    } catch (error) {
      throw new Error(`never so: ${String(isSo)}\n${this.stdout}\n${this.stderr}`, {
        cause: error,
      });
    }
  }

  /** How often the text has come on stderr. */
  count(text: string): number {
    return this.stderr.split(text).length - 1;
  }
}

afterEach(async () => {
  for (const each of running) {
    each.kill("SIGKILL");
    await each.ended;
  }
});
