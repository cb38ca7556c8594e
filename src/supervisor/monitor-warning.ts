/** Warnings of monitors and metrics: once each, however often the same happens. */

/** A message with other numbers, such as pids and sizes, is the same. */
const told = new Set<string>();
/** A monitor that fails in another way each time, such as with a random name in its message, must not fill the log and this memory. */
const MOST = 200;

export function warnOf(message: string, code = "FORKMAP_MONITOR"): void {
  const what = message.replaceAll(/\d+(\.\d+)?/g, "#");
  if (told.has(what) || told.size >= MOST) return;
  told.add(what);
  process.emitWarning(message, { type: "ForkmapWarning", code });
}

/** Forgets what was told; for tests, which share a process. @internal */
export function forgetWarnings(): void {
  told.clear();
}
