/** The other end of the loopback fetch, in a process of its own so that it shares no event loop with a contender. */
import { createServer } from "node:http";

const server = createServer((request, response) => response.end(request.url));
server.listen(0, "127.0.0.1", () => process.send(`http://127.0.0.1:${server.address().port}`));
process.once("disconnect", () => process.exit());
