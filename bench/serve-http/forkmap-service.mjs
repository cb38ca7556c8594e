import { Service } from "forkmap/container";
import { createServer, prepare } from "./app.mjs";

let framework;

export class Web extends Service {
  async preload() {
    framework = await prepare();
  }

  async run(instance) {
    await instance.serve(createServer(framework), "http");
  }
}
