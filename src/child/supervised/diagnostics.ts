/** The diagnostic operations that a child can be asked for, each loaded with its first call. */
import type { Diagnostic } from "./diagnostic.js";

export const DIAGNOSTICS: ReadonlyMap<string, () => Promise<Diagnostic>> = new Map();
