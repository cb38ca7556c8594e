/** What an instance prints, in whole lines with its name and num before each. */
import { LineCutter } from "../launch/line-cutter.js";
import type { OutputPipes } from "../launch/output-pipes.js";
import { isBackedUp, onceDrained, print } from "../launch/printer.js";
import type { OutputName } from "../wire/output-mark.js";

export class InstanceOutput {
  readonly #prefix: Buffer;
  readonly #cutters: Readonly<Record<OutputName, LineCutter>> = {
    stdout: new LineCutter(),
    stderr: new LineCutter(),
  };
  #pipes: OutputPipes | undefined;
  #isHeld = false;

  constructor(prefix: string) {
    this.#prefix = Buffer.from(prefix);
  }

  follow(pipes: OutputPipes): void {
    this.#pipes = pipes;
  }

  /** @param bytes - only valid during the call */
  push(name: OutputName, bytes: Buffer): void {
    const lines: Buffer[] = [];
    this.#cutters[name].push(bytes, this.#prefix, lines);
    if (lines.length > 0) print(name, lines);
    if (this.#isHeld || !isBackedUp()) return;
    this.#isHeld = true;
    this.#pipes?.hold(true);
    onceDrained(() => {
      this.#isHeld = false;
      this.#pipes?.hold(false);
    });
  }

  end(): void {
    for (const name of ["stdout", "stderr"] as const) {
      const lines: Buffer[] = [];
      this.#cutters[name].end(this.#prefix, lines);
      if (lines.length > 0) print(name, lines);
    }
  }
}
