/** An HTTP server that answers every request with its path, after a few ms. */
import http from "node:http";
import { type Listening, listening } from "./listening.js";

const DELAY_MS = 2;

export function httpServer(): Promise<Listening> {
  return listening(
    http.createServer(({ url }, response) => setTimeout(() => response.end(url), DELAY_MS)),
  );
}
