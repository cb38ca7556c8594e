/** `some`, `every` and `find`: calls that end as soon as the answer is known. */
import { throwIfAny } from "../errors.js";
import type { CallOptions, ParallelOptions } from "../options.js";
import type { CallSite } from "./call-site.js";
import type { Calls } from "./calls.js";
import type { Scheduler } from "./scheduler.js";

/** The arguments of a search. */
export interface Question {
  readonly site: CallSite;
  readonly items: Iterable<unknown> | AsyncIterable<unknown>;
  readonly defaults: ParallelOptions<never, never>;
  readonly options: CallOptions<never, never>;
}

/** Returns whether any item has a truthy result (`wanted: true`) or a falsy one (`wanted: false`). */
export async function anyIs(calls: Calls, question: Question, wanted: boolean) {
  let isFound = false;
  await search(calls, question, {
    onResult: (call, _, result) => {
      if (call.end.isStopped || Boolean(result) !== wanted) return;
      isFound = true;
      call.end.finish();
    },
    onFailure: () => {},
    isAnswered: () => isFound,
  });
  return isFound;
}

/** Returns the first item, in input order, whose result is truthy. An item that fails does not match. */
export async function findFirst(calls: Calls, question: Question): Promise<unknown> {
  let found: { readonly index: number; readonly item: unknown } | undefined;
  /** Indices from `next` on that do not match. No item before `next` matches. */
  const passed = new Set<number>();
  let next = 0;
  let isAnswered = false;
  const look = (call: Scheduler) => {
    while (passed.delete(next)) next += 1;
    if (!found || call.end.isStopped) return;
    // An earlier item may still match.
    if (found.index !== next) return call.stopPulling();
    isAnswered = true;
    call.end.finish();
  };
  await search(calls, question, {
    onResult: (call, index, result, item) => {
      if (!result) passed.add(index);
      else if (!found || index < found.index) found = { index, item };
      look(call);
    },
    onFailure: (call, index) => {
      passed.add(index);
      look(call);
    },
    isAnswered: () => isAnswered,
  });
  return found?.item;
}

interface Search {
  onResult(call: Scheduler, index: number, result: unknown, item: unknown): void;
  onFailure(call: Scheduler, index: number): void;
  isAnswered(): boolean;
}

/** Runs the call until an answer, an error or the last item ends it. Without an answer, throws the errors of items. */
async function search(calls: Calls, question: Question, search: Search) {
  const errors: Error[] = [];
  const call: Scheduler = calls.start({
    ...question,
    wantsResults: true,
    onResult: (index, result, item) => search.onResult(call, index, result, item),
    onError: (index, error) => {
      errors[index] = error;
      search.onFailure(call, index);
    },
  });
  await calls.run(call);
  if (search.isAnswered()) return;
  throwIfAny(errors, call.pulled);
}
