import type { Handlers } from "@holdfast/admin";
import { systemTypes } from "@holdfast/engine";
import type { SystemView } from "../../records/system-view.ts";
import { readRuns } from "./runs.ts";

/** The last scheduled backups of all regions, as administrators see them. */
export function backupHandlers(view: Pick<SystemView, "documents">): Pick<Handlers, "readBackups"> {
  return {
    readBackups: async () => ({
      items: view
        .documents(systemTypes.Backup)
        .flatMap((document) => {
          const { region = "", runs = [] } = readRuns(document) ?? {};
          return runs.map((run) => ({ region, ...run }));
        })
        .toSorted((one, other) => other.startedMs - one.startedMs)
        .map(({ startedMs, endedMs, ...rest }) => ({
          ...rest,
          startedAt: new Date(startedMs).toISOString(),
          endedAt: new Date(endedMs).toISOString(),
        })),
    }),
  };
}
