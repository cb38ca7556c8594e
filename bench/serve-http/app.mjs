/** The apps of the bench of HTTP servers, the same for all contenders. Each response says which process has answered. */
import http from "node:http";
import { load, lookUp } from "./data.mjs";

/** Loads what the app needs, once in each process that calls it: its framework and its data. */
export async function prepare({ app, data } = settings()) {
  load(data);
  return app === "express" ? (await import("express")).default : undefined;
}

/** Returns a server that does not listen yet. @param express - what `prepare` has returned */
export function createServer(express) {
  const pid = String(process.pid);
  if (!express) {
    return http.createServer((_, response) => {
      response.setHeader("x-pid", pid);
      response.end("hello\n");
    });
  }
  const app = express();
  app.use(express.json());
  app.get("/items/:id", (request, response) => {
    response.set("x-pid", pid).json(lookUp(Number(request.params.id)));
  });
  app.get("/", (_, response) => {
    response.set("x-pid", pid).send("hello\n");
  });
  return http.createServer(app);
}

export function settings() {
  const { APP, DATA, COUNT, PORT } = process.env;
  return { app: APP, data: DATA, count: Number(COUNT), port: Number(PORT) };
}
