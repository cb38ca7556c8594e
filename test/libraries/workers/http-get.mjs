import http from "node:http";
import { text } from "node:stream/consumers";
import { Library } from "../library.mjs";

export class HttpGet extends Library {
  static package = "node";

  use(n) {
    return new Promise((resolve, reject) => {
      const request = http.get(`${process.env.HTTP_URL}/price/${n}`, (response) => {
        text(response).then(resolve, reject);
      });
      request.on("error", reject);
    });
  }
}
