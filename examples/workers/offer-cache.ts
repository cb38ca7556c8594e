/**
 * A cache of search results that never forgets. Its key is the whole URL, and links in newsletters have a parameter that is another for each reader, so
 * hardly any URL comes twice: leak.ts finds this. A cache needs a key that comes again, and a limit.
 */

export class Offer {
  readonly id: number;
  readonly title: string;
  readonly price: number;
  readonly tags: readonly string[];

  constructor(id: number) {
    this.id = id;
    this.title = `Offer ${id}`;
    this.price = (id * 37) % 100;
    this.tags = [`shelf ${id % 7}`, `row ${id % 11}`];
  }
}

const results = new Map<string, readonly Offer[]>();

export function offersFor(url: string): readonly Offer[] {
  let offers = results.get(url);
  if (!offers) results.set(url, (offers = search()));
  return offers;
}

function search(): Offer[] {
  return Array.from({ length: 500 }, (_, id) => new Offer(id));
}
