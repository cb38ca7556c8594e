/** A name that machines know is set by the worker's author, and is refused before anything travels. */
import { expect, test } from "vitest";
import { FunctionWorker } from "../../src/worker/function-worker.js";
import { CommandWorker } from "../../src/worker/command-worker.js";
import { ParallelWorker } from "../../src/worker/worker.js";
import { workerNameOf } from "../../src/worker/worker-name.js";

class Resize extends ParallelWorker {
  static workerName = "resize@1";

  process(text: string): string {
    return text;
  }
}

class MakeThumb extends Resize {}

class Colon extends Resize {
  static override workerName = "a:b";
}

class Program extends CommandWorker {
  static workerName = "program@2";
}

test("a class, a function and a program have the name that their author gave them", () => {
  const double = Object.assign((n: number) => n * 2, { workerName: "double" });
  expect(workerNameOf(new Resize())).toBe("resize@1");
  expect(workerNameOf(new FunctionWorker(double))).toBe("double");
  expect(workerNameOf(new Program({ argv: ["true"] }))).toBe("program@2");
});

test("a worker without a name, or with one that no queue can have, is an error that says what to write", () => {
  function shout(text: string): string {
    return text.toUpperCase();
  }
  expect(() => workerNameOf(new FunctionWorker(shout))).toThrow(
    new TypeError(
      'Expected the function shout to have a name that all machines know, such as `shout.workerName = "shout@1"`',
    ),
  );
  expect(() => workerNameOf(new MakeThumb())).toThrow(
    new TypeError(
      'Expected the class MakeThumb to have a name that all machines know, such as `static workerName = "make-thumb@1"`. It only inherits "resize@1" (a string)',
    ),
  );
  expect(() => workerNameOf(new Colon())).toThrow(
    new TypeError(
      'Expected `workerName` of Colon to be up to 100 letters, digits and _-.~@, of which a letter, digit or _ is the first, such as "resize@1", got "a:b" (a string)',
    ),
  );
});
