export { contextOptions, readIdentity } from "./base/tls.ts";
export { version } from "./base/version.ts";
export { parseConfig } from "./config/config.ts";
export { type Config, configTable } from "./config/config-table.ts";
export type { Group, List, Setting, SettingRows } from "./config/setting.ts";
export { eventMetrics, processMetrics, readMetrics } from "./observe/metrics/metric-table.ts";
