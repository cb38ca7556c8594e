/** What a supervisor says of its children, also while one takes the place of another. */
import { SupervisorClient, type InstanceState, type SupervisionState } from "forkmap/supervisor";
import { vi } from "vitest";
import { SOON } from "./soon.js";

/** Returns the state as soon as this is met. */
export async function statusOnce(
  directory: string,
  isMet: (state: SupervisionState) => boolean,
): Promise<SupervisionState> {
  let last: unknown;
  try {
    return await vi.waitUntil(async () => {
      // None runs while one is restarted.
      const client = await SupervisorClient.connect(directory).catch((error: unknown) => {
        last = error;
      });
      if (!client) return undefined;
      try {
        const state = (await client.call({ do: "status" })) as SupervisionState;
        last = state;
        return isMet(state) ? state : undefined;
      } catch (error) {
        last = error;
        return undefined;
      } finally {
        await client.close();
      }
    }, SOON);
  } catch (error) {
    throw new Error(`never so: ${String(isMet)}\n${JSON.stringify(last)}\n${String(last)}`, {
      cause: error,
    });
  }
}

export function supervisorIn({ instances }: SupervisionState): InstanceState {
  return instances.find(({ name }) => name === "supervisor")!;
}

/** The children that answer the supervisor. */
export function knownIn({ instances }: SupervisionState): InstanceState[] {
  return instances.filter(({ isSupervised }) => isSupervised);
}

/** Which child it is, in words: the same as long as it is not replaced. */
export function identityOf({ name, num, generation, pid }: InstanceState): string {
  return `${name} num ${num}, generation ${generation}, pid ${pid}`;
}
