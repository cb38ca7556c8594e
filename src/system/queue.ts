/**
 * A queue whose elements carry their own links: any element is removed in constant time, and nothing is allocated. An
 * array would be moved in memory for each batch that is taken from its beginning.
 */

/** An element of at most one queue. */
export abstract class Link {
  /** @internal The queue that it is in. */
  queue: Queue<Link> | undefined = undefined;
  /** @internal */
  before: Link | undefined = undefined;
  /** @internal */
  after: Link | undefined = undefined;
}

export class Queue<T extends Link> {
  #first: Link | undefined;
  #last: Link | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): T | undefined {
    return this.#first as T | undefined;
  }

  /** Returns the element after one of this queue. */
  following(element: T): T | undefined {
    return element.after as T | undefined;
  }

  has(element: T): boolean {
    return element.queue === (this as unknown);
  }

  /** Adds an element that is in no queue at the end. */
  push(element: T): void {
    this.insert(element, undefined);
  }

  /** Adds an element that is in no queue before another, which is in this one; at the end if there is no other. */
  insert(element: T, after: T | undefined): void {
    const before = after ? after.before : this.#last;
    element.queue = this as unknown as Queue<Link>;
    element.before = before;
    element.after = after;
    if (before) before.after = element;
    else this.#first = element;
    if (after) after.before = element;
    else this.#last = element;
    this.#size += 1;
  }

  /** Removes and returns the first element. */
  shift(): T | undefined {
    const { first } = this;
    if (first) this.remove(first);
    return first;
  }

  /** Removes and returns all elements. */
  drain(): T[] {
    const all: T[] = [];
    for (let each = this.shift(); each; each = this.shift()) all.push(each);
    return all;
  }

  /** Removes an element if it is in this queue; returns whether it was. */
  remove(element: T): boolean {
    if (!this.has(element)) return false;
    const { before, after } = element;
    if (before) before.after = after;
    else this.#first = after;
    if (after) after.before = before;
    else this.#last = before;
    element.queue = undefined;
    element.before = undefined;
    element.after = undefined;
    this.#size -= 1;
    return true;
  }
}
