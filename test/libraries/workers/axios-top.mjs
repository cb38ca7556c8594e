import { Axios } from "./axios.mjs";

export class AxiosAtTop extends Axios {
  static package = "axios";
  static usedAtTopLevel = true;
}

await new Axios().use(0);
