import type { Folder } from "../base/folder.ts";
import type { Supervised } from "../processes/supervised.ts";
import type { DashboardPlan } from "./dashboard-plan.ts";
import { PageServer } from "./page-server.ts";
import { startPrometheus, type Target } from "./prometheus.ts";

const graceMs = 10_000;

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
