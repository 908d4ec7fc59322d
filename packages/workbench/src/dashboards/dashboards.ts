import type { Address } from "@holdfast/server/base";
import type { Folder } from "../base/folder.ts";
import type { Supervised } from "../processes/supervised.ts";
import { PageServer } from "./page-server.ts";
import { startPrometheus, type Target } from "./prometheus.ts";

const graceMs = 10_000;

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

/** Prometheus for a cluster, and the page that draws its data. */
export class Dashboards implements AsyncDisposable {
  readonly prometheus: Supervised;
  readonly #page: PageServer;

  private constructor(prometheus: Supervised, page: PageServer) {
    this.prometheus = prometheus;
    this.#page = page;
  }

  static async start(options: {
    readonly program: string;
    readonly folder: Folder;
    readonly plan: DashboardPlan;
    readonly targets: readonly Target[];
    readonly say: (line: string) => void;
    readonly started: () => void;
  }): Promise<Dashboards> {
    const { plan, ...rest } = options;
    const prometheus = await startPrometheus({ ...rest, address: plan.prometheus });
    try {
      return new Dashboards(prometheus, await PageServer.open(plan.page, plan.prometheus));
    } catch (error) {
      await prometheus.stop(graceMs);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#page[Symbol.asyncDispose]();
    await this.prometheus.stop(graceMs);
  }
}
