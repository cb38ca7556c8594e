/** JSON as it was when this package was loaded: what a worker or its libraries put in its place later is not asked. */
// oxlint-disable-next-line typescript/unbound-method -- neither looks at `this`
export const { parse, stringify } = JSON;
