import jwt from "jsonwebtoken";
import { Library } from "../library.mjs";

export class JsonWebToken extends Library {
  use(n) {
    const token = jwt.sign({ n, iat: 1 }, "secret");
    return [token, jwt.verify(token, "secret").n];
  }
}
