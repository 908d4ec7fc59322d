import type { Address } from "@holdfast/server/base";

/** The addresses of the dashboards' page and of its Prometheus. */
export interface DashboardPlan {
  readonly page: Address;
  readonly prometheus: Address;
}

/** The page on a port of 127.0.0.1, Prometheus on the next one. */
export function dashboardPlan(port: number): DashboardPlan {
  const host = "127.0.0.1";
  return { page: { host, port }, prometheus: { host, port: port + 1 } };
}
