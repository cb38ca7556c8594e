/** A job of bench/serve, bench/cpu and others. CommonJS, because poolifier's module cannot be an ES module. */

/**
 * Is busy until a time on the clock, not for an amount of work: an item then takes exactly its time on any machine and at
 * any clock rate, even if two cores share a unit or another program takes one. So the best possible time of a schedule
 * is known, and the bench measures the time that a pool adds between the items.
 */
module.exports = function busy(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
  return String(ms);
};
