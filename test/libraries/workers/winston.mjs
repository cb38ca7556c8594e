import { PassThrough } from "node:stream";
import winston from "winston";
import { Library } from "../library.mjs";

export class Winston extends Library {
  use(n) {
    const stream = new PassThrough();
    const logger = winston.createLogger({
      transports: [new winston.transports.Stream({ stream })],
    });
    logger.info("item", { n });
    return String(stream.read());
  }
}
