/**
 * The module that poolifier runs. An ES module would load too late: the pool's first message would come before its listener
 * exists, and the pool would wait forever.
 */
const { ClusterWorker } = require("poolifier");

module.exports = new ClusterWorker({
  busy: require("./busy.cjs"),
  double: require("./double.cjs"),
});
