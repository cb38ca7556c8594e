/** The job of bench/throughput, the same function for every Node contender. CommonJS, because three of them cannot load ES modules. */
module.exports = function double(n) {
  return String(n * 2);
};
