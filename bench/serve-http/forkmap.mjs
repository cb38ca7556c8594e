/** The program of forkmap. Controllers tell when they are ready by lines of JSON (`NOTIFY_PIPE`); asked by a line, it prints the pids. */
import { Controller } from "forkmap/container";
import { settings } from "./app.mjs";
import { Web } from "./forkmap-service.mjs";

const { count, port } = settings();
const controller = new Controller(
  (container) => {
    container.run(new Web(), { count, name: "web", restart: "always" });
  },
  { sockets: { http: { host: "127.0.0.1", port } } },
);
process.stdin.on("data", () => {
  const pids = controller.container.instances.map(({ pid }) => pid);
  console.log(JSON.stringify({ pids }));
});
// The bench has ended.
process.stdin.on("end", () => void controller.stop(false));
await controller.run();
process.exit();
