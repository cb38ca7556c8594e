/**
 * The operations that clients may call, by name: those of the supervisor itself, and those that it passes on to children. There are no others, and no name
 * leads to a method.
 */
import { GRACE, graceOf } from "../container/container-options.js";
import type { Rules } from "../option-rules.js";
import { check, oneOf, wholeNumber } from "../option-rules.js";
import { describe } from "../system/describe.js";
import { SupervisorError } from "../errors.js";
import type { IncomingCall } from "../wire/calls.js";
import { ask } from "./ask.js";
import { checkArguments, DIAGNOSTIC_RULES } from "./diagnostic-rules.js";
import type { Child, Registry, Target } from "./registry.js";
import { SafeFile } from "./safe-file.js";
import type { SupervisionState } from "./supervision-state.js";

/** Why instances are replaced, and the ms that each has to end, if those are not the container's own. */
export interface Restart {
  readonly reason: string;
  readonly grace: number | undefined;
}

/** What the supervisor itself does for its clients. */
export interface OperationsHost {
  readonly registry: Registry;
  /** Directory for files; undefined if there is none. */
  readonly files: string | undefined;
  state(): Promise<SupervisionState>;
  watch(signal: AbortSignal): AsyncIterable<SupervisionState>;
  restart(target: Target, how: Restart, signal: AbortSignal): Promise<unknown>;
  metricsText(): Promise<string>;
}

/** What a client sends: an operation, its arguments, for which children, and the file for the answer. */
interface Request {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly target: Target;
  readonly file: string | undefined;
}

type Operation = (request: Request, call: IncomingCall) => Promise<unknown>;

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2"];
const TARGET_RULES: Rules = {
  num: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  pool: { expected: "the name of a worker", accepts: (value) => typeof value === "string" },
};
/** A child that is asked for a signal does nothing else. */
const SIGNAL_MS = 5000;
const NONE: Rules = {};
/** What a call has besides its arguments, target and file. */
const KNOWN = new Set(["id", "do", "token"]);

export class Operations {
  readonly #supervisor: OperationsHost;
  readonly #table: ReadonlyMap<string, { readonly rules: Rules; readonly run: Operation }>;

  constructor(supervisor: OperationsHost) {
    this.#supervisor = supervisor;
    const own: [string, { readonly rules: Rules; readonly run: Operation }][] = [
      ["watch", { rules: NONE, run: (_, call) => this.#watch(call) }],
      [
        "restart",
        { rules: { graceful: GRACE }, run: (request, call) => this.#restart(request, call) },
      ],
      ["signal", { rules: { signal: oneOf(...SIGNALS) }, run: (request) => this.#signal(request) }],
      ["metrics", { rules: NONE, run: () => supervisor.metricsText() }],
    ];
    const passedOn = Object.entries(DIAGNOSTIC_RULES).map(
      ([name, rules]) =>
        [
          name,
          { rules, run: (request: Request, call: IncomingCall) => this.#ask(request, call) },
        ] as const,
    );
    this.#table = new Map([...passedOn, ...own]);
  }

  async run(call: IncomingCall): Promise<unknown> {
    const { message } = call;
    const name = message.do;
    const operation = this.#table.get(name);
    if (!operation) {
      throw new SupervisorError(
        `Expected \`do\` to be one of ${[...this.#table.keys()].toSorted().join(", ")}, got ${describe(name)}`,
        "refused",
      );
    }
    const { args = {}, target = {}, file, ...others } = message;
    const unknown = Object.keys(others).find((field) => !KNOWN.has(field));
    if (unknown !== undefined)
      throw new TypeError(
        `Unknown field \`${unknown}\` of a call: arguments of ${name} are in \`args\``,
      );
    checkArguments(name, operation.rules, args);
    check(target, TARGET_RULES, "target.", (option) => `Unknown option \`${option}\``);
    if (file !== undefined && typeof file !== "string")
      throw new TypeError(`Expected \`file\` to be a path, got ${describe(file)}`);
    const request = { name, args: args as Request["args"], target: target as Target, file };
    return await operation.run(request, call);
  }

  async #watch(call: IncomingCall): Promise<void> {
    for await (const state of this.#supervisor.watch(call.signal)) await call.answer(state);
  }

  async #restart({ target, args: { graceful } }: Request, call: IncomingCall): Promise<unknown> {
    const grace = graceful === undefined ? undefined : graceOf(graceful);
    return await this.#supervisor.restart(
      target,
      { reason: "it was asked for", grace },
      call.signal,
    );
  }

  async #signal({ target, args }: Request): Promise<unknown> {
    const children = this.#children(target);
    if (args["signal"] === undefined)
      throw new TypeError(`Expected \`signal\` to be one of ${SIGNALS.join(", ")}`);
    const signal = args["signal"] as NodeJS.Signals;
    await Promise.all(children.map((child) => this.#signalOne(child, signal)));
    return { signalled: children.length };
  }

  /** Of other containers' children, only their own word says which process they are: each signals itself. */
  async #signalOne(child: Child, signal: NodeJS.Signals): Promise<void> {
    if (this.#supervisor.registry.isOwn(child)) process.kill(child.pid, signal);
    else await child.calls?.call({ do: "signal", signal }, { timeout: SIGNAL_MS });
  }

  async #ask(request: Request, call: IncomingCall): Promise<unknown> {
    const { target, name } = request;
    if (name === "status" && target.num === undefined && target.pool === undefined)
      return await this.#supervisor.state();
    const children = this.#children(target);
    if (target.num !== undefined) return await this.#askOne(children[0]!, request, call);
    if (request.file?.includes("{num}") === false)
      throw new TypeError(
        "Expected `file` to have `{num}` in it, as every instance writes a file of its own",
      );
    await Promise.all(
      children.map(async (child) => {
        const { num, pool, name: instance, generation, pid } = child;
        const facts = { num, pool, name: instance, generation, pid };
        try {
          const answer = await this.#askOne(child, request, call);
          await call.answer({ ...facts, answer });
        } catch (error) {
          await call.answer({ ...facts, error: (error as Error).message });
        }
      }),
    );
    return undefined;
  }

  /** Asks one child; what it answers in pieces goes into the file, or to the caller. */
  async #askOne(
    child: Child,
    { name, args, file, target }: Request,
    call: IncomingCall,
  ): Promise<unknown> {
    const isAlone = target.num !== undefined;
    if (file === undefined) {
      const onChunk = (chunk: string) =>
        call.answer(isAlone ? { chunk } : { num: child.num, pool: child.pool, chunk });
      return await ask(child, { name, args, signal: call.signal, onChunk });
    }
    const { files } = this.#supervisor;
    const written = SafeFile.create(files, file.replaceAll("{num}", String(child.num)));
    try {
      const onChunk = (chunk: string) => written.write(chunk);
      const answer = await ask(child, { name, args, signal: call.signal, onChunk });
      if (written.bytes === 0) await written.write(`${JSON.stringify(answer, undefined, 2)}\n`);
      await written.close();
      return { file: written.path, bytes: written.bytes };
    } catch (error) {
      await written.abandon();
      throw error;
    }
  }

  /** @throws SupervisorError when no child is meant */
  #children(target: Target): Child[] {
    const { registry } = this.#supervisor;
    const children = registry.find(target);
    if (children.length > 0) return children;
    throw new SupervisorError(registry.missing(target), "refused");
  }
}
