/** forkmap/container: instances of services that stay. Exports the public API of this entry, and nothing else. */
export { CommandService, type ServiceCommand } from "./command-service.js";
export { Container } from "./container.js";
export type {
  BackoffOptions,
  ContainerOptions,
  ControllerOptions,
  Intensity,
  RunOptions,
  SpawnOptions,
} from "./container-options.js";
export { Controller, type Setup } from "./controller.js";
export {
  type InstanceEnd,
  InstanceError,
  type InstanceInfo,
  type InstanceState,
} from "./instance-info.js";
export type { SocketAddress, SocketOptions } from "./listen-sockets.js";
export { type ClockInfo, FailureRatePolicy, Policy } from "./policy.js";
export { type Instance, Service } from "./service.js";
export type { ContainerStatistics } from "./statistics.js";
