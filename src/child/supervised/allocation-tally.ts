/**
 * Finds in a heap snapshot what has been allocated since the tracking of allocations began, and what of it is still there. `trace_tree` has
 * all calls that have allocated, with number and size; a node that has been tracked names its call.
 *
 * Keeps 8 bytes for each object on the heap, a few records for each place that allocates, and no text but the names of these.
 */
import type { Allocations, AllocationSite, Frame } from "./allocations.js";
import { siteOf } from "./allocations.js";
import { isOfSnapshot } from "./heap-snapshot.js";
import { SnapshotReader, type SnapshotHandler, type SnapshotHead } from "./snapshot-reader.js";

/** A place in the tree: its function, its caller's place, and what was allocated there. */
interface Place {
  readonly functionIndex: number;
  readonly parent: Place | undefined;
  readonly count: number;
  readonly bytes: number;
}

interface Sum {
  count: number;
  bytes: number;
}

/** The node that holds the memory of an ArrayBuffer, which is outside of the heap. */
const BUFFER_DATA = "system / JSArrayBufferData";
const STEPS_OF_KIND = 64;

export class AllocationTally implements SnapshotHandler {
  readonly #reader = new SnapshotReader(this);
  #head: SnapshotHead | undefined;
  /** By node: the id of the place that has allocated it, 0 if it has not been tracked; and its edges. */
  #traces = new Uint32Array();
  #edges = new Uint32Array();
  /** Sizes of nodes of type `native`, which may be the memory of a buffer, by node; and their names. */
  readonly #natives = new Map<number, { readonly size: number; readonly name: number }>();
  /** Found as edges: which place has allocated the buffer of that native node. */
  readonly #owners = new Map<number, number>();
  /** By place, then by name and type of the node in one number. */
  readonly #live = new Map<number, Map<number, Sum>>();
  readonly #places = new Map<number, Place>();
  readonly #functions: number[] = [];
  readonly #path: (Place | undefined)[] = [];
  #last: Place | undefined;
  /** Strings that are needed, by index. */
  readonly #strings = new Map<number, string>();
  #stringIndex = -1;

  write(text: string): void {
    this.#reader.write(text);
  }

  head(head: SnapshotHead): void {
    this.#head = head;
    this.#traces = new Uint32Array(head.node_count);
    this.#edges = new Uint32Array(head.node_count);
  }

  numbers(array: string): ((value: number) => void) | undefined {
    const { meta } = this.#head!;
    if (array === "nodes") return inRecords(meta.node_fields.length, this.#nodes(meta));
    if (array === "edges") return inRecords(meta.edge_fields.length, this.#edgesOf(meta));
    if (array === "trace_function_infos") return (value) => this.#functions.push(value);
    if (array === "trace_tree") return inRecords(4, (record) => this.#place(record));
    return undefined;
  }

  nested(begins: boolean): void {
    if (begins) this.#path.push(this.#last);
    else this.#path.pop();
  }

  needsString(): boolean {
    if (this.#stringIndex === -1) this.#needStrings();
    this.#stringIndex += 1;
    return this.#strings.has(this.#stringIndex);
  }

  string(text: string): void {
    this.#strings.set(this.#stringIndex, text);
  }

  /** Whether anything was tracked. */
  get hasPlaces(): boolean {
    return this.#places.size > 0;
  }

  /** Called when the text has ended. */
  *allocated(): Generator<Allocations> {
    for (const place of this.#places.values()) {
      const site = place.count > 0 && this.#site(place);
      if (site) yield { site, bytes: place.bytes, count: place.count };
    }
  }

  /** Called when the text has ended. */
  *retained(): Generator<Allocations> {
    const types = this.#head!.meta.node_types[0];
    for (const [trace, kinds] of this.#live) {
      const place = this.#places.get(trace);
      const site = place && this.#site(place);
      if (!site) continue;
      for (const [kind, { count, bytes }] of kinds) {
        const name = this.#strings.get(Math.floor(kind / STEPS_OF_KIND)) ?? "";
        const className = classOf(types[kind % STEPS_OF_KIND]!, name);
        yield { site, bytes, count, className };
      }
    }
    for (const [node, trace] of this.#owners) {
      const { size, name } = this.#natives.get(node)!;
      const place = this.#places.get(trace);
      const site = place && this.#strings.get(name) === BUFFER_DATA && this.#site(place);
      if (site) yield { site, bytes: size, count: 0, className: "ArrayBuffer" };
    }
  }

  #nodes({ node_fields: fields, node_types: [types] }: SnapshotHead["meta"]) {
    const [type, name, size, edges, trace] = indexesOf(fields, [
      "type",
      "name",
      "self_size",
      "edge_count",
      "trace_node_id",
    ]);
    const native = types.indexOf("native");
    let index = 0;
    return (record: Float64Array) => {
      const id = record[trace!]!;
      this.#traces[index] = id;
      this.#edges[index] = record[edges!]!;
      if (record[type!] === native) {
        this.#natives.set(index, { size: record[size!]!, name: record[name!]! });
      }
      index += 1;
      if (id === 0) return;
      let kinds = this.#live.get(id);
      if (!kinds) this.#live.set(id, (kinds = new Map()));
      // Strings have their text for a name.
      const isNamed = NAMED.has(types[record[type!]!]!);
      add(kinds, (isNamed ? record[name!]! * STEPS_OF_KIND : 0) + record[type!]!, record[size!]!);
    };
  }

  /** The edges of the first node come first, then those of the second. */
  #edgesOf({ edge_fields: fields, node_fields: { length: width } }: SnapshotHead["meta"]) {
    const [to] = indexesOf(fields, ["to_node"]);
    let from = 0;
    let left = this.#edges[0] ?? 0;
    return (record: Float64Array) => {
      while (left === 0) left = this.#edges[(from += 1)]!;
      left -= 1;
      const trace = this.#traces[from]!;
      const target = record[to!]! / width;
      if (trace !== 0 && this.#natives.has(target)) this.#owners.set(target, trace);
    };
  }

  /** Its children follow in an array of their own. */
  #place([id, functionIndex, count, bytes]: Float64Array): void {
    const parent = this.#path.at(-1);
    this.#last = { functionIndex: functionIndex!, parent, count: count!, bytes: bytes! };
    this.#places.set(id!, this.#last);
  }

  #needStrings(): void {
    const { meta } = this.#head!;
    const width = meta.trace_function_info_fields.length;
    const [name, script] = indexesOf(meta.trace_function_info_fields, ["name", "script_name"]);
    for (let at = 0; at < this.#functions.length; at += width) {
      this.#strings.set(this.#functions[at + name!]!, "");
      this.#strings.set(this.#functions[at + script!]!, "");
    }
    for (const kinds of this.#live.values()) {
      for (const kind of kinds.keys()) this.#strings.set(Math.floor(kind / STEPS_OF_KIND), "");
    }
    for (const node of this.#owners.keys()) this.#strings.set(this.#natives.get(node)!.name, "");
  }

  /** Undefined for what has been allocated by taking the snapshot. */
  #site(place: Place): AllocationSite | undefined {
    const path: Frame[] = [];
    for (let at: Place | undefined = place; at; at = at.parent) {
      const frame = this.#frame(at.functionIndex);
      if (isOfSnapshot(frame)) return undefined;
      path.push(frame);
    }
    return siteOf(path);
  }

  #frame(functionIndex: number): Frame {
    const fields = this.#head!.meta.trace_function_info_fields;
    const [name, script, line] = indexesOf(fields, ["name", "script_name", "line"]);
    const at = functionIndex * fields.length;
    return {
      name: this.#strings.get(this.#functions[at + name!]!) ?? "",
      script: this.#strings.get(this.#functions[at + script!]!) ?? "",
      line: this.#functions[at + line!] ?? 0,
    };
  }
}

/** Types of nodes whose name is that of their class. */
const NAMED = new Set(["object", "native"]);

/** In parentheses, as Chrome has it, if it is no class of JavaScript. */
function classOf(type: string, name: string): string {
  if (type === "object") return name;
  if (type === "native") return `(native) ${name}`;
  if (type.endsWith("string")) return "(string)";
  return `(${type})`;
}

function inRecords(width: number, take: (record: Float64Array) => void): (value: number) => void {
  const record = new Float64Array(width);
  let filled = 0;
  return (value) => {
    record[filled] = value;
    filled += 1;
    if (filled < width) return;
    filled = 0;
    take(record);
  };
}

function indexesOf(fields: readonly string[], names: readonly string[]): number[] {
  return names.map((name) => fields.indexOf(name));
}

function add(sums: Map<number, Sum>, key: number, bytes: number): void {
  const sum = sums.get(key);
  if (!sum) {
    sums.set(key, { count: 1, bytes });
    return;
  }
  sum.count += 1;
  sum.bytes += bytes;
}
