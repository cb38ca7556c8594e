/** The list of events, newest first, and what of them a screen reader says: a few words at a time, however many there are. */
import { clock } from "./format.js";
import { icon, labelOf } from "./parts.js";

/** @typedef {import("../supervision-state.js").SupervisionEvent} SupervisionEvent */

const MAX_EVENTS = 200;
const ANNOUNCE_MS = 2500;

const list = /** @type {HTMLOListElement} */ (document.querySelector("#events"));
const announcements = /** @type {HTMLElement} */ (document.querySelector("#announcements"));

/** @type {SupervisionEvent[]} */
let unsaid = [];
/** @type {number | undefined} */
let saying;

/**
 * @param {readonly SupervisionEvent[]} events oldest first
 * @param {boolean} areNews whether they have happened just now
 */
export function showEvents(events, areNews) {
  if (!areNews) list.replaceChildren();
  list.prepend(...events.map(entryOf).toReversed());
  while (list.childElementCount > MAX_EVENTS) list.lastElementChild?.remove();
  if (!areNews || events.length === 0) return;
  unsaid.push(...events);
  saying ??= setTimeout(sayEvents, ANNOUNCE_MS);
}

/** @param {string} text */
export function announce(text) {
  announcements.textContent = text;
}

function sayEvents() {
  saying = undefined;
  const events = unsaid;
  unsaid = [];
  if (events.length <= 3) {
    announce(events.map((event) => `${labelOf(event)} ${event.what}: ${event.text}.`).join(" "));
    return;
  }
  const counts = Map.groupBy(events, ({ what }) => what);
  announce(
    `${events.length} events: ${[...counts].map(([what, those]) => `${those.length} ${what}`).join(", ")}.`,
  );
}

/** @param {SupervisionEvent} event */
function entryOf(event) {
  const entry = document.createElement("li");
  entry.dataset["what"] = event.what;
  const time = document.createElement("time");
  time.dateTime = new Date(event.time).toISOString();
  time.textContent = clock(event.time);
  const who = document.createElement("b");
  who.textContent = labelOf(event);
  const what = document.createElement("span");
  what.className = "what";
  what.textContent = event.what;
  const text = document.createElement("span");
  text.className = "text";
  text.textContent = event.text;
  const title = document.createElement("span");
  title.append(who, " ", what);
  entry.append(time, icon(event.what), title, text);
  return entry;
}
