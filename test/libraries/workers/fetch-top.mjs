import { Fetch } from "./fetch.mjs";

export class FetchAtTop extends Fetch {
  static package = "node";
  static usedAtTopLevel = true;
}

await new Fetch().use(0);
