import { UndiciAgent } from "./undici-agent.mjs";

export class UndiciAgentAtTop extends UndiciAgent {
  static package = "undici";
  static usedAtTopLevel = true;
}

await new UndiciAgent().use(0);
