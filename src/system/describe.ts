/** Describes a value for an error message: short primitives whole, else the type, as contents may be long or secret. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "number" || typeof value === "boolean")
    return `${value} (a ${typeof value})`;
  if (typeof value === "string") return value.length <= 40 ? `"${value}" (a string)` : "a string";
  if (typeof value !== "object") return `a ${typeof value}`;
  if (Array.isArray(value)) return "an array";
  const name = nameOfClass(value);
  return typeof name === "string" && name !== "" && name !== "Object"
    ? `an instance of ${name}`
    : "an object";
}

/** Returns `undefined` if the value's own code throws. */
function nameOfClass(value: object): unknown {
  try {
    return (value.constructor as { name?: unknown } | undefined)?.name;
  } catch {
    return undefined;
  }
}
