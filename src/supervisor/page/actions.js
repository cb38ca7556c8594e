/** What the buttons do, the dialogs that they open, and the notices of how it went. */
import { announce } from "./events.js";
import { find, labelOf } from "./parts.js";
import { stacksText } from "./stacks.js";

/** @typedef {import("../supervision-state.js").InstanceState} InstanceState */

/** A notice of an error stays until it is dismissed. */
const NOTICE_MS = 8000;

const confirmDialog = /** @type {HTMLDialogElement} */ (find(document, "#confirm"));
const stacksDialog = /** @type {HTMLDialogElement} */ (find(document, "#stacks"));
const stacksPre = find(stacksDialog, "pre");
const notices = find(document, "#notices");

/** Operations that are under way: a button does not begin another. @type {Set<string>} */
const underWay = new Set();

/** @param {import("./instance-table.js").InstanceTable} table */
export function listen(table) {
  find(document, "#instances tbody").addEventListener("click", ({ target }) => {
    const button = target instanceof Element ? target.closest("button") : null;
    const state = button && table.stateAt(button);
    if (!state || button.getAttribute("aria-disabled") === "true") return;
    void once(`${button.dataset["do"]} ${labelOf(state)}`, () => act(button.dataset["do"], state));
  });
  find(document, "#restart-all").addEventListener("click", () => {
    find(confirmDialog, "h2").textContent = `Restart all ${table.countRestartable()} instances?`;
    confirmDialog.returnValue = "";
    confirmDialog.showModal();
  });
  confirmDialog.addEventListener("close", () => {
    if (confirmDialog.returnValue !== "ok") return;
    void once("restart all", async () => {
      announce("Restarting all instances.");
      await post("restart", {});
      notify("All instances have been restarted.", false);
    });
  });
  const copyButton = find(stacksDialog, "#copy-stacks");
  copyButton.addEventListener("click", () => void copyStacks(copyButton));
}

/**
 * @param {string} text
 * @param {boolean} isError
 */
export function notify(text, isError) {
  const notice = document.createElement("p");
  notice.className = isError ? "error" : "";
  const dismiss = document.createElement("button");
  dismiss.type = "button";
  dismiss.textContent = "Dismiss";
  dismiss.addEventListener("click", () => notice.remove());
  notice.append(text, " ", dismiss);
  notices.append(notice);
  if (!isError) setTimeout(() => notice.remove(), NOTICE_MS);
}

/**
 * @param {string} key
 * @param {() => Promise<void>} operation
 */
async function once(key, operation) {
  if (underWay.has(key)) return;
  underWay.add(key);
  try {
    await operation();
  } catch (error) {
    notify(error instanceof Error ? error.message : String(error), true);
  } finally {
    underWay.delete(key);
  }
}

/**
 * @param {string | undefined} what
 * @param {InstanceState} state
 */
async function act(what, state) {
  const { num, pool } = state;
  if (what === "restart") {
    announce(`Restarting ${labelOf(state)}.`);
    await post("restart", { num, pool });
  } else if (what === "stacks") {
    await showStacks(state);
  } else if (what === "heap") {
    const { path } = await post("heap", { num, pool });
    const link = document.createElement("a");
    link.href = path;
    link.download = "";
    link.click();
    notify(`Taking a heap snapshot of ${labelOf(state)}; the browser downloads it.`, false);
  }
}

/** @param {InstanceState} state */
async function showStacks(state) {
  find(stacksDialog, "h2").textContent = `Stacks of ${labelOf(state)}`;
  stacksPre.textContent = "Taking stacks…";
  stacksDialog.setAttribute("aria-busy", "true");
  stacksDialog.showModal();
  try {
    const { text, result } = await post("stacks", { num: state.num, pool: state.pool });
    stacksPre.textContent = stacksText(text || result);
  } catch (error) {
    stacksPre.textContent = error instanceof Error ? error.message : String(error);
  }
  stacksDialog.setAttribute("aria-busy", "false");
}

/** @param {HTMLElement} button */
async function copyStacks(button) {
  try {
    await navigator.clipboard.writeText(stacksPre.textContent ?? "");
    button.textContent = "Copied";
  } catch {
    // Not allowed: it is at least selected.
    getSelection()?.selectAllChildren(stacksPre);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

/**
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>}
 */
async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Forkmap-Dashboard": "1" },
    body: JSON.stringify(body),
  }).catch(() => {
    throw new Error("The dashboard does not answer.");
  });
  if (!response.ok) throw new Error((await response.text()).trim());
  return await response.json();
}
