/** The connection to the server: what it sends, and whether it is there. */
import { clock } from "./format.js";
import { find, setText } from "./parts.js";

/** The server sends something every 4 s at least. */
const SILENCE_MS = 12_000;
const RETRY_MS = 2000;

const lamp = find(document, "#connection");
const lost = find(document, "#lost");

/**
 * @param {Record<string, (data: any) => void>} handlers by the name of the message
 */
export function connect(handlers) {
  let heardAt = Date.now();
  let isLost = false;
  /** @type {EventSource} */
  let source;

  const hear = () => {
    heardAt = Date.now();
    isLost = false;
  };
  const lose = () => {
    if (!isLost) showLost(`Connection lost at ${clock(Date.now())}. Trying again…`, "lost");
    isLost = true;
  };
  const open = () => {
    source = new EventSource("events");
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, ({ data }) => {
        hear();
        handle(JSON.parse(data));
      });
    }
    source.addEventListener("state", showLive);
    source.addEventListener("beat", hear);
    source.addEventListener("error", () => {
      lose();
      // It was refused, and the browser does not try again by itself.
      if (source.readyState === EventSource.CLOSED) setTimeout(reopen, RETRY_MS);
    });
  };
  const reopen = () => {
    source.close();
    heardAt = Date.now();
    open();
  };
  open();
  setInterval(() => {
    const silence = Date.now() - heardAt;
    if (silence > SILENCE_MS) {
      lose();
      reopen();
    }
  }, 1000);
}

/** @param {string} text */
export function showProblem(text) {
  showLost(`The supervisor does not answer: ${text}`, "problem");
}

/**
 * @param {string} text
 * @param {string} state
 */
function showLost(text, state) {
  lamp.dataset["state"] = state;
  setText(find(lamp, ".word"), state === "lost" ? "Connection lost" : "No supervisor");
  document.body.classList.add("stale");
  lost.hidden = false;
  setText(lost, text);
}

function showLive() {
  if (lamp.dataset["state"] === "live") return;
  lamp.dataset["state"] = "live";
  setText(find(lamp, ".word"), "Live");
  document.body.classList.remove("stale");
  lost.hidden = true;
  setText(lost, "");
}
