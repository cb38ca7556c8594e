/**
 * The messages between an instance of a service and its container, lines of JSON as all others: notifications, and the
 * request to stop. A program writes the same notifications without the envelope, see docs/container.md.
 *
 *   <- {"notify":{"ready":true,"status":"listening"}}
 *   -> {"do":"stop","within":10000}
 */
import type { ErrorRecord } from "./error-record.js";
import type { InstanceView } from "./supervision.js";

/** What an instance of a service starts with. */
export interface ServiceStart {
  /** Name of the instance, for frames and messages. */
  readonly name: string;
  /** Descriptors of the listening sockets, by name. */
  readonly sockets: Readonly<Record<string, number>>;
  /** File with the number of connections of each num, which all instances map; undefined for threads. */
  readonly connections: string | undefined;
  /** The longest time between two signs of health, in ms. */
  readonly healthCheckTimeout: number | undefined;
  /** Given for a process whose threads are instances: how many, and how each is kept. */
  readonly threads?: { readonly count: number; readonly keep: object } | undefined;
}

/** Asks the container to let a child finish what it has, and to start another under its num. */
export interface Replacement {
  /** Of a supervisor: which instances; else the one that asks. */
  readonly nums?: readonly number[] | undefined;
  readonly reason: string;
  /** The ms that each has to end; undefined for the container's own. */
  readonly grace?: number | undefined;
}

export interface Notification {
  readonly ready?: boolean | undefined;
  readonly healthy?: boolean | undefined;
  readonly status?: string | undefined;
  readonly replace?: Replacement | undefined;
  /** What `run` threw, or what ended the process. */
  readonly error?: ErrorRecord | undefined;
}

export interface FromInstance {
  readonly notify: Notification;
}

export type ToInstance =
  /** The instance is asked to stop, and is killed after `within` ms. */
  | { readonly do: "stop"; readonly within: number }
  /** To a supervisor: the instances that have changed. */
  | { readonly do: "instances"; readonly instances: readonly InstanceView[] };
