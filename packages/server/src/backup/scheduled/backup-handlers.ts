import type { Handlers } from "@holdfast/admin";
import type { SystemView } from "../../records/system-view.ts";
import { readRuns } from "./runs.ts";

/** The last scheduled backups of all regions, as administrators see them. */
export function backupHandlers(view: Pick<SystemView, "all">): Pick<Handlers, "readBackups"> {
  return {
    readBackups: async () => ({
      items: view
        .all("Backup")
        .flatMap((record) =>
          readRuns(record).runs.map((run) => ({ region: record.region, ...run })),
        )
        .toSorted((one, other) => other.startedMs - one.startedMs)
        .map(({ startedMs, endedMs, ...rest }) => ({
          ...rest,
          startedAt: new Date(startedMs).toISOString(),
          endedAt: new Date(endedMs).toISOString(),
        })),
    }),
  };
}
