/** A program with a supervisor and two instances, and connections to the supervisor as they are on the wire. */
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import type net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { SupervisorClient, type SupervisorOptions } from "forkmap/supervisor";
import { connectTo } from "../../src/wire/socket-path.js";
import { fixture, outputOf, type Ran, type RunOptions, startScript } from "./run-script.js";

export interface SupervisedProgram {
  readonly pid: number;
  readonly directory: string;
  /** What it has printed to stderr so far. */
  stderr(): string;
  /** Stops the container, or kills the program; resolves once it has ended. */
  end(signal?: NodeJS.Signals): Promise<Ran>;
}

export interface ProgramOptions extends RunOptions {
  readonly supervisor?: Omit<SupervisorOptions, "monitors">;
  /** Of the instances, see fixtures/services/performs.mjs. */
  readonly steps?: readonly string[];
  /** Not to wait until all are ready. */
  readonly atOnce?: boolean;
}

export async function supervisedProgram(options: ProgramOptions = {}): Promise<SupervisedProgram> {
  const { supervisor = {}, steps, atOnce, ...rest } = options;
  const child = startScript(fixture("programs/supervised.mjs"), {
    ...rest,
    args: [JSON.stringify({ supervisor, steps }), ...(atOnce ? ["at once"] : [])],
  });
  let stderr = "";
  child.stderr!.on("data", (bytes: Buffer) => (stderr += bytes.toString()));
  const ended = outputOf(child);
  const [line] = (await Promise.race([once(child.stdout!, "data"), ended.then(() => [""])])) as [
    Buffer | string,
  ];
  const directory = line.toString().trim();
  if (directory === "") throw new Error(`The program has ended: ${stderr}`);
  return {
    pid: child.pid!,
    directory,
    stderr: () => stderr,
    async end(signal = "SIGTERM") {
      child.kill(signal);
      return await ended;
    },
  };
}

/** Connects as soon as a supervisor lets in. */
export async function connected(directory: string): Promise<SupervisorClient> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await SupervisorClient.connect(directory);
    } catch (error) {
      if (attempt === 500) throw error;
      await sleep(20);
    }
  }
}

/** The pid that answers. */
export async function supervisorPid(directory: string): Promise<number> {
  const raw = await Raw.connect(directory);
  raw.send({ id: 1, do: "hello", token: tokenOf(directory) });
  const { answer } = await raw.line(({ id }) => id === 1);
  raw.close();
  return (answer as { pid: number }).pid;
}

export function tokenOf(directory: string): string {
  return readFileSync(`${directory}/token`, "latin1");
}

/** The run of the container whose supervisor has this directory, as metrics are named. */
export function runOf(directory: string): string | undefined {
  const runs = readdirSync(directory).map((name) => /^metrics-(\d+-\d+)-\d+-\w+$/.exec(name)?.[1]);
  return runs.find((run) => run !== undefined);
}

/** A connection that sends whatever it likes. */
export class Raw {
  readonly socket: net.Socket;
  readonly lines: Record<string, any>[] = [];
  #rest = "";

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.setEncoding("utf8").on("data", (text: string) => {
      const parts = (this.#rest + text).split("\n");
      this.#rest = parts.pop()!;
      this.lines.push(...parts.map((part) => JSON.parse(part) as Record<string, any>));
    });
  }

  static async connect(directory: string): Promise<Raw> {
    const socket = connectTo(directory);
    await once(socket, "connect");
    return new Raw(socket);
  }

  get isClosed(): boolean {
    return this.socket.destroyed || this.socket.readableEnded;
  }

  send(message: object | string): void {
    if (!this.socket.writable) return;
    this.socket.write(typeof message === "string" ? message : `${JSON.stringify(message)}\n`);
  }

  /** Resolves with the first line that is meant. */
  async line(isMeant: (line: Record<string, any>) => boolean): Promise<Record<string, any>> {
    for (let attempt = 0; attempt < 1000; attempt += 1) {
      const line = this.lines.find(isMeant);
      if (line) return line;
      if (this.isClosed) break;
      await sleep(10);
    }
    throw new Error(`No such line came, but ${JSON.stringify(this.lines)}`);
  }

  close(): void {
    this.socket.destroy();
  }
}
