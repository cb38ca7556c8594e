import pino from "pino";
import { Library } from "../library.mjs";

/** Writes in a thread. */
const transport = pino.transport({ target: "pino/file", options: { destination: "/dev/null" } });
const log = pino(transport);

export class PinoTransport extends Library {
  static package = "pino";

  use(n) {
    return new Promise((resolve, reject) => {
      log.info({ n });
      log.flush((error) => (error ? reject(error) : resolve(n)));
    });
  }
}
