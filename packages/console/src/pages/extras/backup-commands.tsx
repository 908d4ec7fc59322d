import { Copied } from "../../parts/copy.tsx";

const commands: readonly (readonly [what: string, command: string])[] = [
  [
    "Prove a backup: restore it into a private Redis, and open some of its keys",
    "holdfast backup verify FILE --config CONFIG --keys 100",
  ],
  ["Restore: first without --apply", "holdfast backup restore FILE --config CONFIG --apply"],
  ["Make one in another place", "holdfast backup create FILE --config CONFIG"],
];

/** What only the command line does with backups, and why. */
export function BackupCommands() {
  return (
    <details>
      <summary>Restore, and prove with keys, at a node</summary>
      <p>
        Verify on this page reads and authenticates every part of a backup. A restore changes the
        whole region, and is mostly needed while no node runs. Opening keys needs the roots of
        trust. So neither is offered over the network: these commands run at a node. The page
        docs/backup.md says what to keep in addition to the file.
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
