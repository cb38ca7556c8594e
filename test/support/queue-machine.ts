/** Starts the machines of fixtures/queue/serves.mjs, each in a process of its own, and waits for what they tell. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach } from "vitest";
import { vi } from "vitest";
import { fixture } from "./run-script.js";
import { SOON } from "./soon.js";

export interface Said {
  readonly what: string;
  readonly job?: string;
  readonly attempt?: number;
  readonly message?: string;
  readonly ms?: number;
  readonly jobs?: number;
}

export interface MachineOptions {
  readonly engine: { readonly connection: string } & Readonly<Record<string, unknown>>;
  readonly plan?: Readonly<Record<string, unknown>>;
}

export class Machine {
  readonly said: Said[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(options: MachineOptions) {
    this.#child = spawn(process.execPath, [fixture("queue/serves.mjs"), JSON.stringify(options)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#child.on("message", (message: Said) => this.said.push(message));
    this.#ended = once(this.#child, "exit");
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  has(what: string, job?: string): boolean {
    return this.all(what, job).length > 0;
  }

  all(what: string, job?: string): Said[] {
    return this.said.filter((said) => said.what === what && (!job || said.job === job));
  }

  async until(what: string, job?: string): Promise<Said> {
    return await vi.waitFor(() => {
      const found = this.said.find((said) => said.what === what && (!job || said.job === job));
      if (!found)
        throw new Error(`Not yet: ${what} ${job ?? ""}, but ${JSON.stringify(this.said)}`);
      return found;
    }, SOON);
  }

  tell(order: { readonly do: "stop" | "kill" | "block"; readonly ms?: number }): void {
    this.#child.send(order);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves once its process has ended. */
  async end(): Promise<void> {
    await this.#ended;
  }

  async destroy(): Promise<void> {
    if (!this.isRunning) return;
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

const running = new Set<Machine>();

afterEach(async () => {
  await Promise.all([...running].map((machine) => machine.destroy()));
  running.clear();
});

/** Resolves once it serves. */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  const machine = new Machine(options);
  running.add(machine);
  await machine.until("serving");
  return machine;
}
