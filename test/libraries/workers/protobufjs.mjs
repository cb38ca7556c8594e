import protobuf from "protobufjs";
import { Library, digest } from "../library.mjs";

const { root } = protobuf.parse(
  'syntax = "proto3"; message Item { int32 n = 1; string name = 2; }',
);
const Item = root.lookupType("Item");

export class Protobuf extends Library {
  use(n) {
    const bytes = Item.encode({ n, name: `item ${n}` }).finish();
    return [digest(bytes), Item.decode(bytes).name];
  }
}
