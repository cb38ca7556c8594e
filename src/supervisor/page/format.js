/** Numbers, durations and sizes as people read them, with three figures at most. */

/** @param {number} bytes */
export function bytes(bytes) {
  if (bytes < 1e6) return `${figures(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${figures(bytes / 1e6)} MB` : `${figures(bytes / 1e9)} GB`;
}

/** @param {number} fraction */
export function percent(fraction) {
  const value = fraction * 100;
  return `${value > 0 && value < 1 ? "<1" : count(Math.round(value))} %`;
}

/** @param {number} count */
export function count(count) {
  return count.toLocaleString("en");
}

/** @param {number} ms */
export function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** @param {number} ms */
export function milliseconds(ms) {
  return ms < 1000 ? `${figures(ms)} ms` : `${figures(ms / 1000)} s`;
}

/** @param {number} time in ms since the epoch */
export function clock(time) {
  return new Date(time).toLocaleTimeString("en-GB");
}

/** @param {number} value */
function figures(value) {
  if (value >= 100) return String(Math.round(value));
  return value >= 10 ? value.toFixed(1) : value.toFixed(value === 0 ? 0 : 2);
}
