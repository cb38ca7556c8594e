/** Small parts of the page. Text of instances is only ever put in as text. */

/**
 * What an instance is called: "web 3", and with the pool of a child.
 *
 * @param {{ readonly name: string, readonly num: number, readonly pool?: string | undefined }} instance
 */
export function labelOf({ name, num, pool }) {
  const label = `${name} ${num}`;
  return pool === undefined || pool === name ? label : `${label} in pool ${pool}`;
}

/** @param {{ readonly num: number, readonly pool?: string | undefined }} instance */
export function keyOf({ num, pool = "" }) {
  return `${pool}/${num}`;
}

/** @param {string} name of a symbol in the page */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(useOf(name));
  return svg;
}

/** @param {string} name */
function useOf(name) {
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${name}`);
  return use;
}

/**
 * Sets the text if it is another: the browser lays out only what changes.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {ParentNode} within
 * @param {string} selector
 */
export function find(within, selector) {
  const found = within.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`The page has no ${selector}`);
  return found;
}
