/** What worker-farm runs: it wants a callback. */
const double = require("./double.cjs");

module.exports = (n, done) => done(null, double(n));
