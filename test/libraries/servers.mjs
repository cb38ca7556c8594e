/**
 * The servers that client libraries are tried with, on loopback: HTTP, and as much of the protocols of Redis and PostgreSQL as
 * their clients need. Each answer names its request and is sent a little later, so that requests overlap and an answer to
 * another request is detected.
 */
import http from "node:http";
import net from "node:net";

const ANSWER_AFTER_MS = 2;

/** Starts all servers and stores their addresses in `process.env`, which children inherit. */
export async function startServers() {
  process.env.HTTP_URL = `http://127.0.0.1:${await listen(http.createServer(answerHttp))}`;
  process.env.REDIS_PORT = String(await listen(net.createServer(answerRedis)));
  process.env.PG_PORT = String(await listen(net.createServer(answerPostgres)));
}

async function listen(server) {
  // The server does not keep the program alive. A connection that a killed child leaves is closed when it fails.
  server.unref();
  server.on("connection", (socket) => socket.unref().on("error", () => socket.destroy()));
  await new Promise((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return server.address().port;
}

function answerHttp(request, response) {
  setTimeout(() => response.end(`answer to ${request.url}`), ANSWER_AFTER_MS);
}

/** RESP: a request is an array of strings, `*2\r\n$3\r\nget\r\n$2\r\nk1\r\n`. */
function answerRedis(socket) {
  let received = "";
  socket.setEncoding("latin1");
  socket.on("data", (text) => {
    received += text;
    for (;;) {
      const command = takeCommand();
      if (!command) return;
      const [name, key] = command;
      if (name.toLowerCase() !== "get") socket.write(replyTo(name.toLowerCase()));
      else setTimeout(() => socket.write(bulk(`value of ${key}`)), ANSWER_AFTER_MS);
    }
  });

  function takeCommand() {
    const parts = received.split("\r\n");
    const length = 1 + 2 * Number(parts[0].slice(1));
    if (parts.length <= length) return undefined;
    received = parts.slice(length).join("\r\n");
    return parts.slice(1, length).filter((_, i) => i % 2 === 1);
  }
}

function replyTo(name) {
  if (name === "info") return bulk("redis_version:7.0.0\r\nloading:0\r\n");
  return name === "hello" ? "-ERR unknown command 'hello'\r\n" : "+OK\r\n";
}

function bulk(text) {
  return `$${text.length}\r\n${text}\r\n`;
}

/** PostgreSQL's protocol 3: a type, the length of the rest including itself, and the rest; the first message has no type. */
function answerPostgres(socket) {
  let received = Buffer.alloc(0);
  let isStarted = false;
  socket.on("data", (bytes) => {
    received = Buffer.concat([received, bytes]);
    for (;;) {
      const typeBytes = isStarted ? 1 : 0;
      if (received.length < typeBytes + 4) return;
      const length = typeBytes + received.readInt32BE(typeBytes);
      if (received.length < length) return;
      const message = received.subarray(0, length);
      received = received.subarray(length);
      if (isStarted) answer(message);
      else start(message);
    }
  });

  function start(message) {
    const isTlsWanted = message.readInt32BE(4) === 80877103;
    if (isTlsWanted) return socket.write("N");
    isStarted = true;
    const authenticated = postgresMessage("R", Buffer.alloc(4));
    return socket.write(Buffer.concat([authenticated, READY_FOR_QUERY]));
  }

  /** Answers simple queries only: `select 'k1'` gives a row with `answer to k1`. */
  function answer(message) {
    if (message.toString("latin1", 0, 1) === "X") return socket.end();
    const value = Buffer.from(`answer to ${message.toString("utf8", 5).split("'")[1]}`);
    const row = Buffer.concat([Buffer.of(0, 1), int32(value.length), value]);
    const reply = [
      // One column named "a" of type text (25), in text format.
      postgresMessage("T", Buffer.from("0001610000000000000000000019ffffffffffff0000", "hex")),
      postgresMessage("D", row),
      postgresMessage("C", Buffer.from("SELECT 1\0")),
      READY_FOR_QUERY,
    ];
    return setTimeout(() => socket.write(Buffer.concat(reply)), ANSWER_AFTER_MS);
  }
}

const READY_FOR_QUERY = postgresMessage("Z", Buffer.from("I"));

function postgresMessage(type, body) {
  return Buffer.concat([Buffer.from(type), int32(4 + body.length), body]);
}

function int32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
