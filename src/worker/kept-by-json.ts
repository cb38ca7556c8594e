/** Types only: what of the items and results of a worker JSON does not keep, so that the compiler can say so. */

/**
 * What is in a value of type `T` that JSON would change or lose; `never` if nothing is. A `Uint8Array` is not sent as JSON. A
 * Buffer arrives as one: its `toString("hex")` would compile, and give another text.
 */
export type NotKept<T> = unknown extends T
  ? never
  : T extends Uint8Array
    ? T extends { readUInt8(offset?: number): number }
      ? "a Buffer, which arrives as a Uint8Array: declare it as one"
      : never
    : Lost<T>;

/** The same of a value inside another. Types may contain themselves: it looks some levels deep. */
type Lost<T, Levels extends readonly unknown[] = [1, 2, 3, 4, 5, 6]> = Levels extends [
  unknown,
  ...infer Rest,
]
  ? unknown extends T
    ? never
    : T extends Kept
      ? never
      : T extends Unkept
        ? T
        : T extends readonly unknown[]
          ? LostInArray<MemberOf<T>> | Lost<MemberOf<T>, Rest>
          : { [Key in keyof T]-?: Lost<T[Key], Rest> }[keyof T]
  : never;

// oxlint-disable-next-line typescript/no-invalid-void-type -- what `process` returns for `eachProcess`
type Kept = string | number | boolean | null | undefined | void;
/** Other objects with methods are found by these. */
type Unkept =
  | bigint
  | symbol
  | Date
  | RegExp
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | ArrayBufferLike
  | ArrayBufferView
  | Promise<unknown>
  | ((...all: never) => unknown);
/** An optional member of a tuple is not `undefined`: it is missing. */
type MemberOf<T extends readonly unknown[]> = number extends T["length"]
  ? T[number]
  : Required<T>[number];
/** JSON has no `undefined`: of an object it leaves out the property, in an array it would be `null`. */
type LostInArray<Member> = unknown extends Member
  ? never
  : undefined extends Member
    ? "undefined in an array"
    : never;
