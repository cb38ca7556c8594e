/** The data of an app: some 200 MiB that are loaded once and then only read. */

/** Loads a part only, for a smoke test. */
const PART = Number(process.env.PART || 1);
/** These take 200 MiB of V8's heap. */
const RECORDS = 380_000 * PART;
const MEBIBYTES = 200 * PART;
const MEBIBYTE = 1024 ** 2;

const records = new Map();
const buffers = [];

/** @param kind - "objects", "buffers", or nothing */
export function load(kind) {
  if (kind === "objects") for (let id = 0; id < RECORDS; id += 1) records.set(id, makeRecord(id));
  if (kind !== "buffers") return;
  for (let i = 0; i < MEBIBYTES; i += 1) buffers.push(Buffer.alloc(MEBIBYTE, `text ${i} `));
}

/** Something small of the data. */
export function lookUp(id) {
  if (buffers.length > 0) {
    const buffer = buffers[id % buffers.length];
    const from = (id * 4096) % (buffer.length - 100);
    return { id, text: buffer.toString("latin1", from, from + 100) };
  }
  return records.get(id % RECORDS) ?? { id };
}

/** As parsed from a file: an object with text, numbers and small lists. */
function makeRecord(id) {
  return JSON.parse(
    `{"id":${id},"name":"Person number ${id}","email":"person.${id}@example.com","age":${id % 90},"score":${id / 7},` +
      `"tags":["red ${id % 13}","green ${id % 17}"],"address":{"street":"Long Street ${id}","city":"City ${id % 1000}","at":[${id / 3},${id / 5}]},` +
      `"notes":"What there is to say about person number ${id}, who has lived in this city for long."}`,
  );
}
