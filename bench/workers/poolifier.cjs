/** What poolifier runs. An ES module loads too late here: the pool's first message comes before its listener, and the pool waits for ever. */
const { ClusterWorker } = require("poolifier");

module.exports = new ClusterWorker({ double: require("./double.cjs") });
