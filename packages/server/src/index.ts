export { contextOptions, readIdentity } from "./base/tls.ts";
export { version } from "./base/version.ts";
export { parseConfig } from "./config/config.ts";
export { type Config, configTable } from "./config/config-table.ts";
export type { Group, List, Setting, SettingRows } from "./config/setting.ts";
export type { CounterName, GaugeName, HistogramName } from "./observe/metrics/metric-table.ts";
export { eventMetrics, processMetrics, readMetrics } from "./observe/metrics/metric-table.ts";
export { dashboards } from "./observe/panels/dashboards.ts";
export {
  type Objective,
  objectives,
  percentOf,
  periodDays,
  slothId,
} from "./observe/panels/objectives.ts";
export type { Dashboard, Level, Panel, Query, Unit, Variable } from "./observe/panels/panel-row.ts";
