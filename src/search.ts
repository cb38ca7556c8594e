/** `some`, `every` and `find`: calls that end as soon as the answer is known. */
import type { CallPlan, Calls } from "./calls.js";
import type { CallOptions } from "./options.js";

type Items = Iterable<unknown> | AsyncIterable<unknown>;
type Options = CallOptions<never, never>;

/** What a call is halted with when its answer is known: nobody sees it. */
const ANSWERED = new Error("The answer is known");

/** Whether an item has a result that is truthy (`wanted: true`), or one that is not. */
export async function anyIs(calls: Calls, items: Items, options: Options, wanted: boolean) {
  let isFound = false;
  await search(calls, items, options, (_, result, halt) => {
    if (isFound || Boolean(result) !== wanted) return;
    isFound = true;
    halt();
  });
  return isFound;
}

/** The first item, in the order of the input, whose result is truthy. */
export async function findFirst(calls: Calls, items: Items, options: Options): Promise<unknown> {
  let found: { readonly index: number; readonly item: unknown } | undefined;
  /** Items that are not it; all before `next` are not. */
  const passed = new Set<number>();
  let next = 0;
  await search(
    calls,
    items,
    options,
    (index, result, halt, item, stopPulling) => {
      if (!result) passed.add(index);
      else if (!found || index < found.index) found = { index, item };
      while (passed.delete(next)) next += 1;
      if (!found) return;
      // One before it may still be it.
      if (found.index === next) halt();
      else stopPulling();
    },
  );
  return found?.item;
}

type OnResult = (
  index: number,
  result: unknown,
  halt: () => void,
  item: unknown,
  stopPulling: () => void,
) => void;

async function search(calls: Calls, items: Items, options: Options, onResult: OnResult) {
  const errors: Error[] = [];
  const plan: CallPlan = {
    items,
    options,
    wantsResults: true,
    onResult: (index, result, item) =>
      onResult(
        index,
        result,
        () => call.halt(ANSWERED),
        item,
        () => call.stopPulling(),
      ),
    // A failed item gives no answer; it may stop the call, or be told at the end.
    onError: (index, error) => {
      errors[index] = error;
      onResult(index, undefined, () => {}, undefined, () => {});
    },
  };
  const call = calls.start(plan);
  try {
    await calls.run(call);
  } catch (error) {
    if (error !== ANSWERED) throw error;
    return;
  }
  const inOrder = Object.values(errors);
  if (inOrder.length > 0) {
    throw new AggregateError(inOrder, `${inOrder.length} of ${call.pulled} items failed`);
  }
}
