/**
 * All children that a supervisor knows: instances of its own container, of which the container tells; and others, which only introduce themselves
 * (children of pools, instances of other containers).
 */
import type { Socket } from "node:net";
import type { Calls } from "../wire/calls.js";
import { SupervisorError } from "../errors.js";
import { Changes } from "../system/changes.js";
import { monotonic } from "../system/monotonic.js";
import type { ChildFacts, InstanceView } from "../wire/supervision.js";
import type { SupervisedInstance } from "./monitor.js";
import { StackRequest } from "./stack-request.js";
import type { SupervisionEvent } from "./supervision-state.js";

/** A child that is alive. */
export class Child implements SupervisedInstance {
  readonly num: number;
  readonly generation: number;
  readonly pool: string | undefined;
  readonly name: string;
  readonly pid: number;
  readonly run: string;
  readonly startedAt: number;
  /** For its stack while it does not answer. */
  stacks: StackRequest | undefined;
  /** Why it is to be replaced, once it was told. */
  replacement: string | undefined;
  #calls: Calls | undefined;
  readonly #introductions = new Changes();

  constructor(
    facts: Pick<ChildFacts, "num" | "generation" | "pool" | "name" | "pid" | "run" | "startedAt">,
  ) {
    this.num = facts.num;
    this.generation = facts.generation;
    this.pool = facts.pool;
    this.name = facts.name;
    this.pid = facts.pid;
    this.run = facts.run;
    this.startedAt = facts.startedAt;
  }

  get age(): number {
    return monotonic() - this.startedAt;
  }

  /** Its connection, while it has one. */
  get calls(): Calls | undefined {
    return this.#calls;
  }

  set calls(calls: Calls | undefined) {
    this.#calls = calls;
    this.#introductions.tell();
  }

  /** Returns its connection as soon as it has one; undefined if it has none until the signal aborts. */
  async introduced(signal: AbortSignal): Promise<Calls | undefined> {
    const look = () => this.#introductions.tell();
    signal.addEventListener("abort", look);
    await this.#introductions.until(() => this.#calls !== undefined || signal.aborted);
    signal.removeEventListener("abort", look);
    return this.#calls;
  }
}

/** Which children a call is for; all of them without a `num`. */
export interface Target {
  readonly num?: number | undefined;
  /** Name of a worker whose pool it is; else instances of containers are meant. */
  readonly pool?: string | undefined;
}

export interface RegistryEvents {
  onRegister(child: Child): void;
  onRemove(child: Child): void;
  onEvent(event: SupervisionEvent): void;
}

export class Registry {
  /** Of the supervisor's own container. */
  readonly ownRun: string;
  readonly #events: RegistryEvents;
  readonly #children = new Map<string, Child>();
  readonly #views = new Map<number, InstanceView>();
  /** Instances that have introduced themselves before the container has told of them. */
  readonly #early = new Map<Calls, { readonly facts: ChildFacts; readonly known: () => void }>();

  constructor(ownRun: string, events: RegistryEvents) {
    this.ownRun = ownRun;
    this.#events = events;
  }

  get children(): Child[] {
    return [...this.#children.values()].toSorted(
      (one, other) => compareText(one.pool ?? "", other.pool ?? "") || one.num - other.num,
    );
  }

  /** The instances of the supervisor's own container. */
  get views(): InstanceView[] {
    return [...this.#views.values()].toSorted((one, other) => one.num - other.num);
  }

  /** Returns the child of an instance of the own container. */
  childOf({ num }: InstanceView): Child | undefined {
    return this.#children.get(keyOf(this.ownRun, num));
  }

  isOwn(child: Child): boolean {
    return child.run === this.ownRun;
  }

  /** Returns those that are meant; of a num that two containers have, that of the own one, or else the younger. */
  find({ num, pool }: Target): Child[] {
    const children = this.children;
    if (num === undefined)
      return pool === undefined ? children : children.filter((each) => each.pool === pool);
    const found = children.filter((each) => each.num === num && each.pool === pool);
    const rank = (child: Child) => (this.isOwn(child) ? Infinity : child.startedAt);
    return found.toSorted((one, other) => rank(other) - rank(one)).slice(0, 1);
  }

  view(num: number): InstanceView | undefined {
    return this.#views.get(num);
  }

  /** Returns what to say when nothing is meant by a target. */
  missing({ num, pool }: Target): string {
    const what =
      num === undefined ? "a supervised instance" : `a supervised instance with num ${num}`;
    const where = pool === undefined ? "" : ` in the pool of ${pool}`;
    const known = this.children.map((each) =>
      each.pool === undefined ? `${each.num}` : `${each.pool} ${each.num}`,
    );
    const list = known.length === 0 ? "there is none" : `there are ${known.join(", ")}`;
    return `Expected ${what}${where}; ${list}`;
  }

  /**
   * A child has introduced itself. What it says of an instance of the own container has to be what that tells; of others nothing else is known, so
   * their pid is only used to look. Resolves once the child is known: it answers, and may be interrupted.
   *
   * @throws SupervisorError when it cannot be that child
   */
  async introduce(facts: ChildFacts, calls: Calls): Promise<void> {
    if (this.#early.has(calls) || this.children.some((child) => child.calls === calls))
      throw new SupervisorError("A connection is that of one child", "refused");
    if (facts.run !== this.ownRun) {
      const known = this.#children.get(keyOf(facts.run, facts.num));
      if (known && !isSame(facts, known)) throw impostor(facts, known);
      this.#connect(this.#ensure(facts), calls);
      return;
    }
    const view = this.#views.get(facts.num);
    // The container tells of a child some ms after it was started.
    const isNew = !view || view.generation < facts.generation;
    if (!isNew && view.pid !== undefined && !isSame(facts, view)) throw impostor(facts, view);
    await new Promise<void>((known) => {
      this.#early.set(calls, { facts, known });
      if (view) this.#admit(view);
    });
  }

  /** Connects those who have introduced themselves as this instance, which the container says to live. */
  #admit({ num }: InstanceView): void {
    const child = this.#children.get(keyOf(this.ownRun, num));
    if (!child) return;
    for (const [calls, { facts, known }] of this.#early) {
      if (facts.num !== num || !isSame(facts, child)) continue;
      this.#early.delete(calls);
      this.#connect(child, calls);
      known();
    }
  }

  #connect(child: Child, calls: Calls): void {
    child.calls?.close();
    child.calls = calls;
  }

  /** A child can be interrupted through this connection, if it has no other. It writes stacks for whatever is sent to it, so it is told nothing. */
  interruptible(run: unknown, num: unknown, socket: Socket): void {
    const isName = typeof run === "string" && typeof num === "number";
    const child = isName ? this.#children.get(keyOf(run, num)) : undefined;
    if (child?.calls && !child.stacks?.isOpen) child.stacks = new StackRequest(socket, child.pid);
    else socket.destroy();
  }

  /** The connection of a child has ended; without one, only those are known of which the container tells. */
  disconnected(calls: Calls): void {
    this.#early.delete(calls);
    for (const [key, child] of this.#children) {
      if (child.calls !== calls) continue;
      child.calls = undefined;
      if (!this.isOwn(child)) this.#remove(key, child);
    }
  }

  /** What the container tells. */
  update(views: readonly InstanceView[]): void {
    for (const view of views) {
      const before = this.#views.get(view.num);
      if (view.state === "ended") this.#views.delete(view.num);
      else this.#views.set(view.num, view);
      this.#tellOf(before, view);
      this.#follow(view);
      this.#admit(view);
    }
  }

  /** Children of other containers and pools find the supervisor that has the directory. */
  letOthersGo(): void {
    for (const child of this.#children.values()) if (!this.isOwn(child)) child.calls?.close();
  }

  /** Ends the connections that are not those of the server any more. */
  close(): void {
    for (const { stacks } of this.#children.values()) stacks?.close();
  }

  #follow({ num, generation, name, pid, startedAt, isSupervised }: InstanceView): void {
    const key = keyOf(this.ownRun, num);
    const known = this.#children.get(key);
    if (pid === undefined) {
      if (known && known.generation <= generation) this.#remove(key, known);
    } else if (isSupervised) {
      const facts = { num, generation, name, pid, run: this.ownRun, pool: undefined };
      this.#ensure({ ...facts, startedAt: startedAt ?? monotonic() });
    }
  }

  #ensure(facts: ConstructorParameters<typeof Child>[0]): Child {
    const key = keyOf(facts.run, facts.num);
    const known = this.#children.get(key);
    if (known && known.generation >= facts.generation) return known;
    if (known) this.#remove(key, known);
    const child = new Child(facts);
    this.#children.set(key, child);
    this.#events.onRegister(child);
    if (!this.isOwn(child)) this.#tell(child, "started", `pid ${child.pid}`);
    return child;
  }

  #remove(key: string, child: Child): void {
    child.stacks?.close();
    // One that lives all the same introduces itself again.
    child.calls?.close();
    this.#children.delete(key);
    this.#events.onRemove(child);
    if (!this.isOwn(child)) this.#tell(child, "ended", `pid ${child.pid}`);
  }

  #tellOf(before: InstanceView | undefined, view: InstanceView): void {
    const isNew = view.generation !== before?.generation;
    const hasEnded =
      before !== undefined &&
      (isNew ? before.pid !== undefined : view.pid === undefined && before.pid !== undefined);
    if (hasEnded) this.#tell(view, "ended", view.lastEnd ?? "");
    if (view.state === "ended") return;
    if (isNew) this.#tell(view, "started", `generation ${view.generation}`);
    if (view.state === "ready" && (isNew || before.state !== "ready"))
      this.#tell(view, "ready", view.status);
  }

  #tell(
    {
      num,
      name,
      pool,
    }: { readonly num: number; readonly name: string; readonly pool?: string | undefined },
    what: SupervisionEvent["what"],
    text: string,
  ): void {
    const place = pool === undefined ? { num, name } : { num, name, pool };
    this.#events.onEvent({ time: Date.now(), ...place, what, text });
  }
}

type Life = Pick<InstanceView, "num" | "generation" | "pid">;

function isSame(one: Life, other: Life): boolean {
  return one.generation === other.generation && one.pid === other.pid;
}

function impostor(facts: Life, known: Life): SupervisorError {
  return new SupervisorError(
    `Expected num ${known.num} to be generation ${known.generation} with pid ${known.pid}, got generation ${facts.generation} with pid ${facts.pid}`,
    "refused",
  );
}

function keyOf(run: string, num: number): string {
  return `${run}:${num}`;
}

function compareText(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}
