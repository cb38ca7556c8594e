/** The job of bench/throughput, the same function for every Node contender. CommonJS, as three of them can load nothing else. */
module.exports = function double(n) {
  return String(n * 2);
};
