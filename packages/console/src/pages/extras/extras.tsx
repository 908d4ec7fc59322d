import type { ComponentChild } from "preact";
import { may } from "../../base/may.ts";
import { link } from "../../base/router.ts";
import { Notice, State } from "../../parts/notices.tsx";
import { rootSentence, statusSentence } from "../../parts/status-text.ts";
import { ApproverKeys, PolicyText, SignRequest } from "./approve.tsx";
import { BackupCommands } from "./backup-commands.tsx";
import { BackupWork } from "./backup-work.tsx";
import { CarryOut } from "./carry-out.tsx";
import { Export } from "./event-tools.tsx";
import type { ExtraProps } from "./extra-props.ts";
import { FindKey } from "./find-key.tsx";
import { KeyEvents } from "./key-events.tsx";
import { Progress, StorageKeyProgress } from "./progress.tsx";
import { Verify } from "./verify.tsx";

type Extras = Readonly<Record<string, (props: ExtraProps) => ComponentChild>>;

/** What pages show above what their operation reads, by the path of the page. */
export const extrasAbove: Extras = {
  "/instances": (props) => (
    <>
      {may("createInstance") ? (
        <p>
          <a class="btn btn-sm btn-primary" href={link("/order")}>
            Order step by step
          </a>
        </p>
      ) : null}
      <FindKey {...props} />
    </>
  ),
  "/instances/{instance}/keys": (props) => <FindKey {...props} />,
  "/instances/{instance}": (props) => (
    <>
      <Status {...props} />
      <Progress {...props} />
    </>
  ),
  "/instances/{instance}/root-of-trust": (props) => <Progress {...props} />,
  "/storage-key": (props) => <StorageKeyProgress {...props} />,
  "/roots-of-trust": ({ model }) => <Notes of={model.beside.value["notes"]} />,
  "/backups": ({ model }) => <BackupWork model={model} />,
  "/events": ({ query }) => (
    <>
      <Export query={query} />
      <Verify />
    </>
  ),
  "/access/approvals/{approval}": (props) => <CarryOut {...props} />,
};

/** The same, below it. */
export const extrasBelow: Extras = {
  "/instances/{instance}/keys/{key}": ({ params }) => <KeyEvents params={params} />,
  "/backups": () => <BackupCommands />,
  "/access/approvals/{approval}": (props) => <SignRequest {...props} />,
  "/access/approval-policy": (props) => (
    <>
      <PolicyText {...props} />
      <ApproverKeys {...props} />
    </>
  ),
};

/** What to know about a list as a whole: sentences of the service. */
function Notes({ of }: { of: unknown }) {
  if (!Array.isArray(of)) return null;
  return (
    <>
      {(of as readonly string[]).map((note) => (
        <Notice key={note} tone="info">
          {note}
        </Notice>
      ))}
    </>
  );
}

/** What the status of an instance and of its roots of trust means. */
function Status({ model: { thing } }: ExtraProps) {
  const { status, regions = {} } = (thing.value ?? {}) as {
    readonly status?: string;
    readonly regions?: Readonly<Record<string, { readonly root?: { readonly state: string } }>>;
  };
  if (status === undefined) return null;
  return (
    <section aria-label="Status">
      <p>
        <State of={status} /> {statusSentence(status)}
      </p>
      {Object.entries(regions).map(([region, { root }]) =>
        root === undefined ? null : (
          <p key={region}>
            Root of trust in region {region}: <State of={root.state} /> {rootSentence(root.state)}
          </p>
        ),
      )}
    </section>
  );
}
