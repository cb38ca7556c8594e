/**
 * What a dashboard shows of a supervisor: each watch and each operation has a connection of its own. So the page finds a supervisor that was
 * started again, and a heap snapshot that is downloaded slowly, whose connection then stands still, does not hold up what the page shows.
 */
import type { DashboardSource, SupervisionState } from "../supervision-state.js";

/** A client of the supervisor; client.ts loads this module. */
interface Connection {
  watch(signal: AbortSignal): AsyncIterable<SupervisionState>;
  call: DashboardSource["call"];
  close(): Promise<void>;
}

export class ConnectedSource implements DashboardSource {
  readonly #connect: () => Promise<Connection>;

  constructor(connect: () => Promise<Connection>) {
    this.#connect = connect;
  }

  async *watch(signal: AbortSignal): AsyncGenerator<SupervisionState> {
    const connection = await this.#connect();
    try {
      yield* connection.watch(signal);
    } finally {
      await connection.close();
    }
  }

  async call(...call: Parameters<DashboardSource["call"]>): Promise<unknown> {
    const connection = await this.#connect();
    try {
      return await connection.call(...call);
    } finally {
      await connection.close();
    }
  }
}
