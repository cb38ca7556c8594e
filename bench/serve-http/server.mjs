/** A worker of node:cluster or pm2: loads the app, listens, and tells pm2 so. */
import { createServer, prepare, settings } from "./app.mjs";

const server = createServer(await prepare());
server.listen(settings().port, "127.0.0.1", () => process.send?.("ready"));
// pm2's way to stop; node:cluster closes the server by itself.
process.on("SIGINT", () => {
  server.close(() => process.exit());
  server.closeIdleConnections();
});
