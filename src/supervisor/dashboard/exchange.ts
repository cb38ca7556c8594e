/** One request to the dashboard and its response: reading a body that is small, and refusing. */
import type { IncomingMessage, ServerResponse } from "node:http";

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** What the page posts is a num and a name. */
const MAX_BODY_BYTES = 4096;

/** A request that is not answered, with what is said instead. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function respond(
  response: ServerResponse,
  status: number,
  type: string,
  content: string | Uint8Array,
): void {
  if (response.destroyed) return;
  // The rest of a body that is too long is not read.
  if (status === 413) response.setHeader("Connection", "close");
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(content),
  });
  response.end(response.req.method === "HEAD" ? undefined : content);
}

/** @throws Refusal if it is too long or no JSON */
export async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) {
      throw new Refusal(413, `Expected a body of at most ${MAX_BODY_BYTES} bytes.`);
    }
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
  } catch {
    throw new Refusal(400, "Expected the body to be JSON.");
  }
}
