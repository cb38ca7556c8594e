import { SignJWT, jwtVerify } from "jose";
import { Library } from "../library.mjs";

const secret = Buffer.alloc(32, 7);

export class Jose extends Library {
  async use(n) {
    const token = await new SignJWT({ n }).setProtectedHeader({ alg: "HS256" }).sign(secret);
    const { payload } = await jwtVerify(token, secret);
    return [token, payload.n];
  }
}
