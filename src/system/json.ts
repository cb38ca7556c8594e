/** `JSON` as it was when this package was loaded: later replacements by a worker or its libraries have no effect. */
// oxlint-disable-next-line typescript/unbound-method -- neither looks at `this`
export const { parse, stringify } = JSON;
