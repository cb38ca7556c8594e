import { buildSchema, graphql } from "graphql";
import { Library } from "../library.mjs";

const schema = buildSchema("type Query { double(n: Int!): Int! }");

export class GraphQl extends Library {
  async use(n) {
    return await graphql({
      schema,
      source: `{ double(n: ${n}) }`,
      rootValue: { double: (each) => each.n * 2 },
    });
  }
}
