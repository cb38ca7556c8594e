/** forkmap/supervisor: watches instances of services. Exports the public API of this entry, and nothing else. */
export { type ClientCallOptions, SupervisorClient } from "./client.js";
export type { InstanceAnswer } from "./answers.js";
export type { Dashboard, DashboardOptions } from "./dashboard.js";
export type { GrowthLimit } from "./growth.js";
export { MemoryMonitor, type MemoryMonitorOptions } from "./memory-monitor.js";
export { Monitor, type MonitorContext, type SupervisedInstance } from "./monitor.js";
export {
  ProcessMonitor,
  type ProcessMonitorOptions,
  type ProcessSample,
} from "./process-monitor.js";
export type { KernelThread } from "./kernel-threads.js";
export type {
  ChildAnswer,
  ChildAnswers,
  ChildOperation,
  ChildStatus,
  Described,
  GarbageProfile,
  Pauses,
  SchedulerDump,
  SupervisorAnswers,
  SupervisorOperation,
  WrittenFile,
} from "./operation-types.js";
export type { Target } from "./registry.js";
export type { MetricsAddress } from "./serve-metrics.js";
export type {
  InstanceState,
  MonitorStatus,
  SupervisionEvent,
  SupervisionState,
} from "./supervision-state.js";
export { Supervisor, type SupervisorOptions } from "./supervisor.js";
export {
  type MetricSummary,
  UtilizationMonitor,
  type UtilizationMonitorOptions,
  type UtilizationSummary,
} from "./utilization-monitor.js";
export { SupervisorError } from "../errors.js";
export type {
  AllocationReport,
  Breakdown,
  LocationLine,
  MemorySample,
  ReportLine,
} from "../wire/memory-sample.js";
export type { ThreadDump, ThreadState } from "../wire/thread-dump.js";
export {
  type Counter,
  counter,
  type Gauge,
  gauge,
  type MetricOptions,
} from "../worker/user-metrics.js";
