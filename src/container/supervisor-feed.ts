/** Tells the supervisors among a container's instances what becomes of all of them, through the channels of their processes. */
import { rmSync } from "node:fs";
import { makePrivateDirectory } from "../system/make-private.js";
import { setTimeout } from "../system/timers.js";
import { isSupervisor } from "../worker/check-worker.js";
import type { Service } from "./service.js";
import type { ServiceSlot } from "./service-slot.js";

/** Changes within this time are told together. */
const PAUSE_MS = 50;

/** A service that is a supervisor, see supervisor/supervisor.ts. */
export interface SupervisorService extends Service {
  readonly directory: string;
  /** Whether the directory was made for this program, and is removed with it. */
  readonly ownsDirectory: boolean;
}

export function supervisorOf(service: Service): SupervisorService | undefined {
  return isSupervisor(service) ? (service as SupervisorService) : undefined;
}

/** How many supervisors of this program have each directory: while a controller restarts blue-green, those of the old set and of the new one. */
const users = new Map<string, number>();

export class SupervisorFeed {
  readonly #slots: Iterable<ServiceSlot>;
  /** Those of supervisors that have a child. */
  readonly #supervisors = new Set<ServiceSlot>();
  readonly #added: SupervisorService[] = [];
  readonly #changed = new Set<ServiceSlot>();
  #isDue = false;

  /** @param slots - all that have not ended */
  constructor(slots: Iterable<ServiceSlot>) {
    this.#slots = slots;
  }

  isSupervisor(slot: ServiceSlot): boolean {
    return this.#supervisors.has(slot);
  }

  /** The directory of the supervisor that was added last, of those that go on. */
  get directory(): string | undefined {
    const slots = [...this.#slots].filter(({ isWanted }) => isWanted);
    const supervisors = slots.map(({ options }) => supervisorOf(options.service));
    return supervisors.findLast((each) => each !== undefined)?.directory;
  }

  added({ options }: ServiceSlot): void {
    const supervisor = supervisorOf(options.service);
    if (!supervisor) return;
    this.#added.push(supervisor);
    // Instances count into files there from their first request, however long the supervisor takes to start. If it fails, that tells why.
    makePrivateDirectory(supervisor.directory);
    users.set(supervisor.directory, (users.get(supervisor.directory) ?? 0) + 1);
  }

  /** Removes the directories that were made for this program, unless another container has the same; called when no slot is left. */
  close(): void {
    for (const { directory, ownsDirectory } of this.#added.splice(0)) {
      const left = users.get(directory)! - 1;
      if (left > 0) users.set(directory, left);
      else users.delete(directory);
      if (ownsDirectory && left === 0) rmSync(directory, { recursive: true, force: true });
    }
  }

  /** A child of this slot runs. */
  started(slot: ServiceSlot): void {
    if (!supervisorOf(slot.options.service)) return;
    this.#supervisors.add(slot);
    send(slot, this.#slots);
  }

  changed(slot: ServiceSlot): void {
    if (this.#supervisors.size === 0) return;
    this.#changed.add(slot);
    if (this.#isDue) return;
    this.#isDue = true;
    setTimeout(() => this.tell(), PAUSE_MS).unref();
  }

  /** Tells what has changed now: who knows that all are ready may ask the supervisor for any. */
  tell(): void {
    this.#isDue = false;
    if (this.#changed.size === 0) return;
    for (const supervisor of this.#supervisors) send(supervisor, this.#changed);
    this.#changed.clear();
  }

  ended(slot: ServiceSlot): void {
    this.#supervisors.delete(slot);
  }
}

function send(supervisor: ServiceSlot, slots: Iterable<ServiceSlot>): void {
  supervisor.send({ do: "instances", instances: Array.from(slots, (slot) => slot.view()) });
}
