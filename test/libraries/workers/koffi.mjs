import koffi from "koffi";
import { Library } from "../library.mjs";

const absolute = koffi.load("libc.so.6").func("int abs(int)");

export class Koffi extends Library {
  async use(n) {
    const later = await new Promise((resolve, reject) => {
      absolute.async(-n, (error, value) => (error ? reject(error) : resolve(value)));
    });
    return [later, absolute(-n)];
  }
}
