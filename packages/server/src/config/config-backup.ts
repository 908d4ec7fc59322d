import { file, integer, optional, optionalGroup, text } from "./setting.ts";

/** The settings of backups. */
export const backupSettings = optionalGroup(
  "Backups of the region's store. Key material stays sealed in them, and they are encrypted and authenticated under a key of their own.",
  {
    keyFile: file(
      "The backup key, made by `holdfast backup key init`; mode 0600, the same at every node of the region. `holdfast backup key rotate` adds a version that seals from then on. Without it no backup can be read: keep a copy apart from the backups.",
    ),
    directory: optional(
      file(
        "Where the region's leader puts scheduled backups: a folder that every node of the region has, best on storage of its own. Left out, none are made by schedule.",
      ),
    ),
    everyMs: integer(
      "Interval between scheduled backups.",
      { min: 60_000, max: 2_592_000_000, default: 86_400_000 },
      "ms",
    ),
    at: optional(
      text(
        "Time of day (UTC) at which a backup is made, in place of `backup.everyMs`.",
        "a time of day like 02:30",
        /^([01]\d|2[0-3]):[0-5]\d$/,
      ),
    ),
    keep: integer(
      "Scheduled backups that are kept; older ones are deleted when a new one is complete.",
      {
        min: 1,
        max: 10_000,
        default: 14,
      },
    ),
  },
);
