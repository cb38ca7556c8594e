import { UndiciPool } from "./undici-pool.mjs";

export class UndiciPoolAtTop extends UndiciPool {
  static package = "undici";
  static usedAtTopLevel = true;
}

await new UndiciPool().use(0);
