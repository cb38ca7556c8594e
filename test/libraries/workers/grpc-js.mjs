import grpc from "@grpc/grpc-js";
import { Library } from "../library.mjs";

const text = {
  requestSerialize: Buffer.from,
  requestDeserialize: String,
  responseSerialize: Buffer.from,
  responseDeserialize: String,
};
const echo = { echo: { path: "/Echo/echo", requestStream: false, responseStream: false, ...text } };
const Client = grpc.makeGenericClientConstructor(echo, "Echo");

export class Grpc extends Library {
  static package = "@grpc/grpc-js";

  async use(n) {
    const server = new grpc.Server();
    server.addService(echo, { echo: (call, done) => done(null, `${call.request}!`) });
    const port = await new Promise((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => {
        if (error) reject(error);
        else resolve(bound);
      });
    });
    const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    const answer = await new Promise((resolve, reject) => {
      client.echo(`item ${n}`, (error, value) => (error ? reject(error) : resolve(value)));
    });
    client.close();
    server.forceShutdown();
    return answer;
  }
}
