/** The page: shows each state that the server sends. connection.js receives them, actions.js has the buttons. */
import { listen, notify } from "./actions.js";
import { connect, showProblem } from "./connection.js";
import { showEvents } from "./events.js";
import { InstanceTable } from "./instance-table.js";
import { keyOf } from "./parts.js";
import { Plots } from "./plots.js";
import { Series } from "./series.js";
import { showMonitors, showSummary } from "./summary.js";

/** @typedef {import("../supervision-state.js").SupervisionState} SupervisionState */

// The token has become a cookie. It is not to stay in the address, which people share, nor in the history.
if (location.search !== "") history.replaceState(null, "", location.pathname);

const series = new Series();
const plots = new Plots(series);
const table = new InstanceTable(plots, series);
for (const plot of document.querySelectorAll("#summary .plot")) {
  plot.setAttribute("aria-hidden", "true");
  plots.add(/** @type {HTMLElement} */ (plot), undefined);
}
listen(table);

let isAfterHistory = false;

connect({
  history({ samples }) {
    series.clear();
    for (const sample of samples) series.add(sample);
    isAfterHistory = true;
  },
  state(/** @type {SupervisionState} */ state) {
    series.add(sampleOf(state));
    table.show(state.instances);
    showSummary(state);
    showMonitors(state);
    showEvents(state.events, !isAfterHistory);
    plots.draw(isAfterHistory);
    table.showScales();
    isAfterHistory = false;
  },
  problem({ text }) {
    showProblem(text);
  },
  notice({ text, isError }) {
    notify(text, isError);
  },
});

/**
 * @param {SupervisionState} state
 * @returns {import("./series.js").Sample}
 */
function sampleOf({ time, instances }) {
  return {
    time,
    values: Object.fromEntries(
      instances.map((each) => [
        keyOf(each),
        [each.generation, each.memory ?? null, each.cpu ?? null],
      ]),
    ),
  };
}
