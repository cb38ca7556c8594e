/**
 * Speaks as much of PostgreSQL's protocol (version 3, https://www.postgresql.org/docs/current/protocol-message-formats.html) as
 * pg needs to connect without a password and to run simple queries: the answer to `select 'k7'` is `k7`, after a few ms.
 */
import net, { type Socket } from "node:net";
import { type Listening, listening } from "./listening.js";

const DELAY_MS = 2;
const SSL_REQUEST = 80_877_103;
const LENGTH_BYTES = 4;
const OID_TEXT = 25;

export function postgresServer(): Promise<Listening> {
  return listening(net.createServer(serve));
}

function serve(socket: Socket): void {
  let pending = Buffer.alloc(0);
  let hasStarted = false;
  socket.on("data", (bytes) => {
    pending = Buffer.concat([pending, bytes]);
    while (takeOne());
  });

  /** The first message of a client has no type. */
  function takeOne(): boolean {
    const typeBytes = hasStarted ? 1 : 0;
    if (pending.length < typeBytes + LENGTH_BYTES) return false;
    const length = pending.readInt32BE(typeBytes);
    if (pending.length < typeBytes + length) return false;
    const type = hasStarted ? String.fromCharCode(pending[0]!) : "start";
    const body = pending.subarray(typeBytes + LENGTH_BYTES, typeBytes + length);
    pending = pending.subarray(typeBytes + length);
    answer(type, body);
    return true;
  }

  function answer(type: string, body: Buffer): void {
    if (type === "start" && body.readInt32BE(0) === SSL_REQUEST) {
      socket.write("N");
    } else if (type === "start") {
      hasStarted = true;
      socket.write(Buffer.concat([message("R", int32(0)), READY]));
    } else if (type === "Q") {
      const [, text = ""] = /'(.*)'/.exec(body.toString()) ?? [];
      setTimeout(() => socket.write(rowOf(text)), DELAY_MS);
    } else if (type === "X") {
      socket.end();
    }
  }
}

function message(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), int32(body.length + LENGTH_BYTES), body]);
}

const READY = message("Z", Buffer.from("I"));

/** A row with one text column. */
function rowOf(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([
    message(
      "T",
      int16(1),
      string("v"),
      int32(0),
      int16(0),
      int32(OID_TEXT),
      int16(-1),
      int32(-1),
      int16(0),
    ),
    message("D", int16(1), int32(bytes.length), bytes),
    message("C", string("SELECT 1")),
    READY,
  ]);
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function string(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}
