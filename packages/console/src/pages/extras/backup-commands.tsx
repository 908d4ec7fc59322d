import { Copied } from "../../parts/copy.tsx";

const commands: readonly (readonly [what: string, command: string])[] = [
  ["Make a backup", "holdfast backup create FILE --config CONFIG"],
  [
    "Prove it: open the file, and some of its keys",
    "holdfast backup verify FILE --config CONFIG --keys 100",
  ],
  [
    "See what a restore would do; it changes nothing",
    "holdfast backup restore FILE --config CONFIG",
  ],
];

/** What only the command line does with backups. */
export function BackupCommands() {
  return (
    <details>
      <summary>Make, verify and restore</summary>
      <p>
        A backup has every key of a region, so no request over the network makes or opens one: these
        commands run at a node. With the settings backup.directory and backup.at the leader makes
        one each day by itself. The page docs/backup.md says what to keep in addition to the file.
      </p>
      {commands.map(([what, command]) => (
        <div key={command}>
          <h3>{what}</h3>
          <Copied text={command} what="the command" block />
        </div>
      ))}
    </details>
  );
}
