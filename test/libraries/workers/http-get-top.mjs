import { HttpGet } from "./http-get.mjs";

export class HttpGetAtTop extends HttpGet {
  static package = "node";
  static usedAtTopLevel = true;
}

await new HttpGet().use(0);
