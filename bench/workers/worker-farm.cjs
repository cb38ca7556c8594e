/** The module that worker-farm runs: its functions take a callback. */
const double = require("./double.cjs");

module.exports = (n, done) => done(null, double(n));
