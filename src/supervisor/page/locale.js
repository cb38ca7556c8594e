/**
 * Chromium calls its language "en-US@posix" where LANG is C. Intl refuses that name, and uPlot asks Intl as it is loaded; so this file
 * is loaded before it.
 */
try {
  Intl.getCanonicalLocales(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en-US" });
}
