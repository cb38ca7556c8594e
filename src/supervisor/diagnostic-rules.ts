/** Rules for the arguments of diagnostic operations. */
import { milliseconds, type Rules } from "../option-rules.js";

export const DIAGNOSTIC_RULES: Readonly<Record<string, Rules>> = {
  status: {},
  cpu_profile: { duration: milliseconds(1) },
};
