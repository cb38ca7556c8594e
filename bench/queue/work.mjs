/** What all contenders do with an item, so tiny that the queue is what is measured. */
export function shout(text) {
  return text.toUpperCase();
}
