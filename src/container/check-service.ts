/** Checks what is given to a container as a service. */
import { describe } from "../system/describe.js";
import { commandOf } from "./command-service.js";
import type { RunOptions } from "./container-options.js";
import type { Service } from "./service.js";
import type { ServiceSlot } from "./service-slot.js";

/** @throws TypeError unless it is an instance of a class that has `run` */
export function checkService(service: unknown): asserts service is Service {
  const isObject = typeof service === "object" && service !== null;
  if (isObject && typeof (service as { run?: unknown }).run === "function") {
    const prototype = Object.getPrototypeOf(service) as object | null;
    if (prototype !== null && prototype !== Object.prototype) return;
    throw new TypeError(
      "Expected an instance of a class that extends Service, got an object literal: another process needs its class",
    );
  }
  const isClass = typeof service === "function" && /^class\b/.test(String(service));
  const remedy = isClass ? `: write new ${service.name || "Web"}()` : "";
  throw new TypeError(
    `Expected an instance of a class that extends Service and has run(instance), got ${describe(service)}${remedy}`,
  );
}

/**
 * @param others - what the container has already
 * @throws TypeError for an option that only children that run Node can have, or another `module` than the service has already
 */
export function checkOptionsFor(
  service: Service,
  { limits, module, threads }: RunOptions,
  others: Iterable<ServiceSlot>,
): void {
  for (const { options: other } of others) {
    if (other.service !== service || String(other.module) === String(module)) continue;
    throw new TypeError(
      `Expected the \`module\` that this service has in the container already (${String(other.module ?? "none")}), got ${String(module ?? "none")}: one from another module needs an object of its own`,
    );
  }
  if (commandOf(service) === undefined) return;
  for (const [name, value] of Object.entries({ limits, module, threads })) {
    if (value === undefined) continue;
    throw new TypeError(
      `The option \`${name}\` is not for a CommandService: ${NOT_FOR_PROGRAMS[name]}`,
    );
  }
}

const NOT_FOR_PROGRAMS: Readonly<Record<string, string>> = {
  limits: 'begin `argv` with "prlimit", such as ["prlimit", "--as=1073741824", "ruby", "web.rb"]',
  module: "its program is named by `argv`",
  threads: "a program manages its own threads",
};
