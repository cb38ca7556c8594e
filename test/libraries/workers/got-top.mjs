import { Got } from "./got.mjs";

export class GotAtTop extends Got {
  static package = "got";
  static usedAtTopLevel = true;
}

await new Got().use(0);
