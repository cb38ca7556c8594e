/**
 * Speaks as much of Redis' protocol (RESP 2, https://redis.io/docs/latest/develop/reference/protocol-spec/) as ioredis needs to
 * connect and to GET: the value of `k7` is `v7`. It answers in the order of the requests, after a few ms, so that two
 * processes that share a connection get each other's answers.
 */
import net, { type Socket } from "node:net";
import { type Listening, listening } from "./listening.js";

const DELAY_MS = 2;

export function redisServer(): Promise<Listening> {
  return listening(net.createServer(serve));
}

function serve(socket: Socket): void {
  let pending = "";
  socket.on("data", (bytes) => {
    pending += bytes.toString("latin1");
    for (let command = take(); command; command = take()) {
      const answer = answerTo(command);
      setTimeout(() => socket.write(answer), DELAY_MS);
    }
  });

  /** Returns the next command, an array of strings, once it has arrived completely. */
  function take(): string[] | undefined {
    const head = /^\*(\d+)\r\n/.exec(pending);
    if (!head) return undefined;
    const words: string[] = [];
    let at = head[0].length;
    for (let i = 0; i < Number(head[1]); i += 1) {
      const length = /^\$(\d+)\r\n/.exec(pending.slice(at));
      if (!length) return undefined;
      const start = at + length[0].length;
      const end = start + Number(length[1]);
      if (pending.length < end + 2) return undefined;
      words.push(pending.slice(start, end));
      at = end + 2;
    }
    pending = pending.slice(at);
    return words;
  }
}

function answerTo([command = "", key = ""]: readonly string[]): string {
  if (command.toLowerCase() === "get") return bulk(key.replace("k", "v"));
  if (command.toLowerCase() === "info") return bulk("redis_version:7.0.0\r\nloading:0\r\n");
  return "+OK\r\n";
}

function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`;
}
