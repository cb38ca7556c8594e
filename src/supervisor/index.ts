/** forkmap/supervisor: watches instances of services. Exports the public API of this entry, and nothing else. */
export {
  type ClientCallOptions,
  type InstanceAnswer,
  type OperationCall,
  SupervisorClient,
} from "./client.js";
export type { Dashboard, DashboardOptions } from "./dashboard.js";
export { Monitor, type MonitorContext, type SupervisedInstance } from "./monitor.js";
export type {
  MonitorState,
  InstanceState,
  SupervisionEvent,
  SupervisionState,
} from "./supervision-state.js";
export { type MetricsAddress, Supervisor, type SupervisorOptions } from "./supervisor.js";
export { SupervisorError } from "../errors.js";
export {
  type Counter,
  counter,
  type Gauge,
  gauge,
  type MetricOptions,
} from "../worker/user-metrics.js";
export type { Target } from "./registry.js";
