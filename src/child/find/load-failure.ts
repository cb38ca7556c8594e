/** Why a worker cannot be loaded in this process. */
import { recordError } from "../../wire/error-record.js";
import type { LoadProblem } from "../../wire/protocol.js";

/** The worker cannot be loaded; `message` says why in a sentence for the user. */
export class LoadFailure extends Error {
  readonly problem: LoadProblem;
  constructor(
    message: string,
    thrown?: { readonly value?: unknown; readonly unrelated?: true },
    advice?: string,
  ) {
    super(message);
    this.problem = {
      message,
      advice,
      ...(thrown && "value" in thrown ? { error: recordError(thrown.value) } : {}),
      ...(thrown?.unrelated ? { unrelated: true } : {}),
    };
  }
}
