/**
 * Starts the programs of a `CommandService`, and reads what they tell: lines of JSON from a pipe, as async-container has it, and datagrams, as
 * systemd has it (sd_notify(3)). Both end as the notifications of any other instance.
 */
import { type ChildProcess, spawn, type StdioOptions } from "node:child_process";
import { rmSync } from "node:fs";
import net from "node:net";
import { LaunchError } from "../errors.js";
import type { ChildEvents } from "../launch/launcher.js";
import type { OutputPipes } from "../launch/output-pipes.js";
import { outside } from "../launch/outside.js";
import { killGroup, ProcessGroups } from "../launch/process-groups.js";
import { checkProgram } from "../launch/program/find-program.js";
import { ScratchRoom } from "../launch/scratch-room.js";
import { SocketPipes } from "../launch/socket-pipes.js";
import { assertAllowed } from "../system/permission.js";
import { setImmediate } from "../system/timers.js";
import { MessageReader } from "../wire/check-message.js";
import type { ServiceCommand } from "./command-service.js";
import type { ContainerOptions } from "./container-options.js";
import type { ListenSockets } from "./listen-sockets.js";
import type { InstanceChild, InstanceStart } from "./service-launch.js";
import { socketCalls } from "./socket-calls.js";

export type ProgramSettings = Pick<ContainerOptions, "env" | "cwd" | "output">;

/** The first descriptor after stdin, stdout and stderr, where systemd puts its sockets. */
const FIRST_FD = 3;
/** A program knows sockets as its own by its pid, which only it can put into its environment. `$0` and `$@` are the user's `argv`. */
const WITH_PID = 'export LISTEN_PID=$$; exec "$0" "$@"';

export class ProgramStarter {
  readonly #command: ServiceCommand;
  readonly #settings: ProgramSettings;
  readonly #sockets: ListenSockets;
  readonly #groups = new ProcessGroups();
  #scratch: Promise<ScratchRoom> | undefined;
  #directory = "";
  #children = 0;

  constructor(command: ServiceCommand, settings: ProgramSettings, sockets: ListenSockets) {
    this.#command = command;
    this.#settings = settings;
    this.#sockets = sockets;
  }

  async ready(): Promise<void> {
    assertAllowed("child", "starting processes");
    const { argv, cwd } = this.#command;
    checkProgram({ argv, cwd: cwd ?? this.#settings.cwd, env: this.#env() }, "CommandService");
    if (!socketCalls()) return;
    this.#scratch ??= this.#openScratch();
    this.#directory = (await this.#scratch).directory;
  }

  start(instance: InstanceStart, events: ChildEvents): InstanceChild {
    this.#children += 1;
    const notifySocket = this.#directory && `${this.#directory}/${this.#children}.notify`;
    const child = outside(
      () =>
        new ProgramInstance(
          this.#spawn(instance, notifySocket),
          notifySocket,
          events,
          this.#groups,
        ),
    );
    return child;
  }

  async close(): Promise<void> {
    const scratch = await this.#scratch?.catch(() => undefined);
    await scratch?.remove();
    await this.#groups.close();
  }

  async #openScratch(): Promise<ScratchRoom> {
    const scratch = new ScratchRoom(undefined, this.#groups);
    await scratch.open(true);
    return scratch;
  }

  #env(): NodeJS.ProcessEnv {
    const { env = this.#settings.env } = this.#command;
    return { ...(env ?? process.env) };
  }

  #spawn({ num, generation }: InstanceStart, notifySocket: string): ChildProcess {
    const { fds, names } = this.#sockets;
    const { argv, cwd = this.#settings.cwd } = this.#command;
    const output = this.#settings.output === "tag" ? "pipe" : "inherit";
    const stdio: StdioOptions = ["ignore", output, output, ...fds, "pipe"];
    const env = {
      ...this.#env(),
      FORKMAP_NUM: String(num),
      FORKMAP_GENERATION: String(generation),
      NOTIFY_PIPE: String(FIRST_FD + fds.length),
      NOTIFY_SOCKET: notifySocket || undefined,
      LISTEN_FDS: fds.length > 0 ? String(fds.length) : undefined,
      LISTEN_FDNAMES: fds.length > 0 ? names.join(":") : undefined,
      LISTEN_PID: undefined,
    };
    const [program, ...rest] = fds.length > 0 ? ["/bin/sh", "-c", WITH_PID, ...argv] : argv;
    return spawn(program!, rest, {
      stdio,
      detached: true,
      env,
      ...(cwd === undefined ? {} : { cwd }),
    });
  }
}

class ProgramInstance implements InstanceChild {
  readonly output: OutputPipes | undefined;
  readonly #process: ChildProcess;
  readonly #events: ChildEvents;
  readonly #datagrams: net.Socket | undefined;
  #hasNotified = false;

  constructor(
    child: ChildProcess,
    notifySocket: string,
    events: ChildEvents,
    groups: ProcessGroups,
  ) {
    this.#process = child;
    this.#events = events;
    const { pid } = child;
    child.once("error", (error) => {
      if (pid === undefined) this.#fail(error);
    });
    if (pid === undefined) return;
    groups.watch(pid);
    child.unref();
    const pipe = child.stdio.at(-1) as net.Socket;
    this.#read(pipe);
    this.#datagrams = notifySocket
      ? receive(notifySocket, pipe, (text) => this.#notify(ofSystemd(text)))
      : undefined;
    const { onOutput } = events;
    const pipes =
      child.stdout && onOutput ? new SocketPipes(child, ["stdout", "stderr"], onOutput) : undefined;
    this.output = pipes;
    child.once("exit", (exitCode, signal) => {
      pipes?.close();
      groups.forget(pid);
      // What it has told last may still be in the pipe.
      const end = () => {
        pipe.destroy();
        this.#datagrams?.destroy();
        if (notifySocket) rmSync(notifySocket, { force: true });
        events.onEnd({
          started: true,
          pid,
          exitCode: exitCode ?? undefined,
          signal: signal ?? undefined,
        });
      };
      setImmediate(() => setImmediate(end));
    });
    setImmediate(() => events.onReady());
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** A program is asked by SIGINT alone. */
  send(): void {}

  kill(signal: NodeJS.Signals): void {
    if (this.pid !== undefined) killGroup(this.pid, signal);
  }

  #read(pipe: net.Socket): void {
    const reader = new MessageReader(
      (message) => this.#notify(message),
      (reason) => this.#events.onBreach(reason),
    );
    pipe.unref();
    pipe.on("error", () => {});
    pipe.on("data", (chunk: Buffer) => reader.push(chunk));
    // A program that does not use the pipe may close it, as it may any descriptor that it does not know.
    pipe.once("close", () => {
      if (this.#hasNotified) this.#events.onClosed?.();
    });
  }

  #notify(notify: unknown): void {
    this.#hasNotified = true;
    this.#events.onAnswer({ notify });
  }

  #fail(cause: Error): void {
    const reason = `The program ${this.#process.spawnargs[0]} could not be started: ${cause.message}`;
    this.#events.onEnd({
      started: false,
      reason,
      fatal: new LaunchError(reason, { cause }),
      cause,
    });
  }
}

/** Reads a socket of datagrams as a stream, by the handle that Node has for Unix sockets: each read is one datagram. */
function receive(
  path: string,
  like: net.Socket,
  onText: (text: string) => void,
): net.Socket | undefined {
  const fd = socketCalls()!.bindDatagrams(path);
  // Without it, the program has the pipe.
  if (fd < 0) return undefined;
  const { constructor: Pipe } = (like as unknown as { _handle: object })._handle as {
    constructor: new (type: number) => { open(fd: number): number };
  };
  const handle = new Pipe(0);
  handle.open(fd);
  const socket = new net.Socket({
    handle,
    readable: true,
    writable: false,
  } as net.SocketConstructorOpts);
  socket.unref();
  socket.on("error", () => {});
  socket.on("data", (datagram: Buffer) => onText(datagram.toString()));
  return socket;
}

/** Translates a message of systemd's protocol, lines of `NAME=value`; see sd_notify(3). */
function ofSystemd(text: string): object {
  const fields = new Map(
    text.split("\n").flatMap((line) => {
      const at = line.indexOf("=");
      return at === -1 ? [] : [[line.slice(0, at), line.slice(at + 1)]];
    }),
  );
  return {
    ...(fields.get("READY") === "1" ? { ready: true } : {}),
    ...(fields.get("WATCHDOG") === "1" ? { healthy: true } : {}),
    ...(fields.has("STATUS") ? { status: fields.get("STATUS") } : {}),
  };
}
