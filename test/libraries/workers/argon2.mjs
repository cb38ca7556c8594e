import argon2 from "argon2";
import { Library } from "../library.mjs";

export class Argon2 extends Library {
  async use(n) {
    const options = { salt: Buffer.alloc(16, 1), timeCost: 2, memoryCost: 1024, parallelism: 4 };
    return await argon2.hash(`password ${n}`, options);
  }
}
