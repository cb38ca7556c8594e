/** The server of a loopback fetch, in a process of its own so that it shares no event loop with a contender. The argument is its latency in ms. */
import { createServer } from "node:http";

const latency = Number(process.argv[2] ?? 0);

const server = createServer((request, response) => {
  if (latency === 0) response.end(request.url);
  else setTimeout(() => response.end(request.url), latency);
});
server.listen(0, "127.0.0.1", () => process.send(`http://127.0.0.1:${server.address().port}`));
process.once("disconnect", () => process.exit());
