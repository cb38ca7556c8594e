/** What a metric of the user's is called for those who read it. */

/** Prometheus accepts letters, digits and "_"; ":" is for the names of its rules. */
export function validName(name: string): string {
  const valid = name.replaceAll(/[^a-zA-Z0-9_]/g, "_");
  return /^[a-zA-Z_]/.test(valid) ? valid : `_${valid}`;
}

/** Of a name that is valid for Prometheus: begins with a letter. */
export function otelName(name: string): string {
  return name.replace(/^_+(?=[a-zA-Z])/, "");
}
