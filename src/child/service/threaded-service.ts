/** A process whose threads are instances: a container inside an instance. The `parent` of each thread is the process. */
import { once } from "node:events";
import { Container, type ContainerParts } from "../../container/container.js";
import type { Keep } from "../../container/container-options.js";
import {
  type InstanceEnd,
  InstanceError,
  type InstanceInfo,
  isLoss,
} from "../../container/instance-info.js";
import { ListenSockets } from "../../container/listen-sockets.js";
import { Policy } from "../../container/policy.js";
import type { Service } from "../../container/service.js";
import { NodeLaunch } from "../../container/service-launch.js";
import { ThreadLauncher } from "../../launch/thread/thread-launcher.js";
import { DEFAULT_STARTUP_TIMEOUT_MS } from "../../options.js";
import type { ServiceStart } from "../../wire/notification.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import type { RunningInstance } from "./running-instance.js";

/** What the process itself needs to end after its threads. */
const RESERVE_MS = 500;

export async function runThreads(
  service: Service,
  source: WorkerSource,
  { name, sockets, threads }: ServiceStart,
  instance: RunningInstance,
): Promise<void> {
  const { count } = threads!;
  const keep = threads!.keep as Keep;
  const launcher = new ThreadLauncher(() => ({ ...source, context: instance.context }), {
    execArgv: undefined,
    env: process.env,
    startupTimeout: keep.startupTimeout ?? DEFAULT_STARTUP_TIMEOUT_MS,
  });
  const choice = {
    current: launcher,
    reason: undefined,
    async ready() {
      await launcher.ready();
      return launcher;
    },
    close: () => launcher.close(),
  };
  let fail!: (reason: Error) => void;
  const failed = new Promise<never>((_, reject) => (fail = reject));
  failed.catch(() => {});
  const parts: ContainerParts = {
    policy: new ThreadPolicy(() => instance.ready(), fail),
    sockets: new ListenSockets({}),
    makeLaunch: () => new NodeLaunch(choice, sockets, false),
  };
  const container = new Container(parts as object);
  const { signal } = instance;
  const stopping = once(signal, "abort").then(() =>
    container.stop(Math.max(0, instance.timeLeft - RESERVE_MS)),
  );
  container.run(service, { count, name, ...keep });
  await Promise.race([container.waitUntilReady(), stopping]);
  // Told already, unless a thread has ended well without having been ready.
  instance.ready();
  const stopBeating = instance.beat();
  try {
    await (signal.aborted ? stopping : Promise.race([container.wait(), stopping, failed]));
  } catch (error) {
    // The process ends with the first thread that is given up, and is restarted as a whole.
    await container.stop();
    throw error;
  }
  stopBeating();
  // Throws if one has failed for good.
  await container.waitUntilReady();
}

class ThreadPolicy extends Policy {
  readonly #onReady: () => void;
  readonly #onLoss: (reason: Error) => void;

  constructor(onReady: () => void, onLoss: (reason: Error) => void) {
    super();
    this.#onReady = onReady;
    this.#onLoss = onLoss;
  }

  /** Told here and not after `waitUntilReady`: of a thread that ends at once, Node tells both in one turn. */
  override ready({ instances }: Container): void {
    if (instances.every(({ state }) => state === "ready")) this.#onReady();
  }

  override exited(
    container: Container,
    instance: InstanceInfo,
    end: InstanceEnd,
  ): void | Promise<void> {
    if (isLoss(end)) this.#onLoss(new InstanceError(instance, end));
    return super.exited(container, instance, end);
  }
}
