import { identifiersIn } from "@holdfast/admin/identifiers";
import { OperatorError } from "@holdfast/server/operator-error";
import type { Command } from "commander";
import { Failure, refuseExisting, writeNew } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { sayJson } from "../terminal/output.ts";
import { listLines } from "../terminal/print.ts";
import { type Inventory, inventoryOf, type KeyUse, listedKind } from "./inventory.ts";
import { type KeyProvider, KeyProviders, namesOf } from "./key-provider.ts";
import { move } from "./move.ts";
import { addVcenterSite, type VcenterSite, withVcenter, withVcenters } from "./vcenter-site.ts";
import type { Vcenter } from "./vi-json.ts";

interface Audit extends VcenterSite {
  readonly keysOut?: string;
  readonly json?: true;
}

interface Verify extends VcenterSite {
  readonly oldProvider: string;
  readonly newProvider: string;
}

interface MoveOptions extends VcenterSite {
  readonly from: string;
  readonly to: string;
  readonly machine?: readonly string[];
  readonly vsan?: readonly string[];
  readonly atOnce: string;
  readonly journal: string;
  readonly trackedToo?: true;
  readonly dryRun?: true;
}

const columns = [
  ...["KIND=kind", "NAME=name", "PROVIDER=provider", "KEY=keyId"],
  ...["STATE=state", "VCENTER=vcenter"],
];

/** The commands that look at everything in vCenters that can use a key. */
export function addInventoryCommands(parent: Command): void {
  const auditing = parent
    .command("audit")
    .argument("<url...>", "https:// addresses of all vCenters that share the keys")
    .summary("list everything that uses a key")
    .description(
      "List what uses which key of which provider, and whether it is locked: machines, templates, disks, snapshots, hosts, clusters, vSAN, first-class disks and default providers. It only reads. It fails if anything could not be read, since nothing is known about that.",
    )
    .option("--keys-out <file>", "write every key in use, for `holdfast key orphans --in-use`")
    .option("--json", "print JSON");
  addVcenterSite(auditing);
  auditing.action((urls: readonly string[], given: Audit) => audit(urls, given));
  const moving = parent
    .command("move")
    .argument("<url>", "https:// address of the vCenter")
    .summary("re-key everything from one key provider to another")
    .description(
      "Give machines, templates, vSAN clusters, hosts and first-class disks that use one key provider a key of another one, by shallow re-keys: no disk is encrypted again, and machines stay powered on. A second run continues. Where vCenter cannot change vSAN over JSON, it prints what to do. Cluster policies and default providers are changed in vCenter.",
    )
    .requiredOption("--from <name>", "the provider that is used now")
    .requiredOption("--to <name>", "the provider that gives the new keys; it must be green")
    .option("--machine <name...>", "only these machines and templates; try one first")
    .option(
      "--vsan <cluster...>",
      "move vSAN of these clusters without a question; without a terminal, no other is moved",
    )
    .option("--at-once <number>", "how many are re-keyed at the same time, 1 to 32", "4")
    .option(
      "--journal <file>",
      "remembers templates that are machines for a moment, and vSAN's old keys; keep it until the move is done",
      "holdfast-move.journal",
    )
    .option(
      "--tracked-too",
      "re-key running machines with changed block tracking too: vSphere before 8.0 Update 3e may power them off",
    )
    .option("--dry-run", "print what it would do, and change nothing");
  addVcenterSite(moving);
  moving.action(async (url: string, given: MoveOptions) => {
    const { from, to, machine, atOnce, journal } = given;
    if (!/^([1-9]|[12]\d|3[0-2])$/.test(atOnce)) {
      throw new Failure(`--at-once ${atOnce}: give a number from 1 to 32`);
    }
    const flags = { trackedToo: given.trackedToo === true, dryRun: given.dryRun === true };
    const wanted = { from, to, journal, vsan: given.vsan ?? [], atOnce: Number(atOnce), ...flags };
    await withVcenter(url, given, (vcenter) => move(vcenter, { ...wanted, machines: machine }));
  });
  const verifying = parent
    .command("verify")
    .argument("<url...>", "https:// addresses of all vCenters that share the keys")
    .summary("prove that nothing uses an old key provider any more")
    .description(
      "Ends with exit code 0 only if everything could be read, each vCenter knows both providers, nothing uses the old one, and something uses the new one. It only reads.",
    )
    .requiredOption("--old-provider <name>", "the provider that is to be removed")
    .requiredOption("--new-provider <name>", "the provider that has taken its place");
  addVcenterSite(verifying);
  verifying.action((urls: readonly string[], given: Verify) => verify(urls, given));
}

async function audit(urls: readonly string[], given: Audit): Promise<void> {
  const { keysOut } = given;
  if (keysOut !== undefined) refuseExisting("--keys-out", keysOut);
  const found = await inventory(urls, given);
  if (given.json === true) sayJson({ ...found } as never);
  else say(linesOf(found));
  refuseGaps(found);
  if (keysOut === undefined) return;
  const all = [...new Set(found.uses.map(({ keyId }) => keyId).filter((id) => id !== ""))];
  const keys = all.filter(isReadable);
  if (keys.length === 0) {
    throw new OperatorError(
      "nothing uses a key: no file was written, since every key would be an orphan",
      "failed",
    );
  }
  writeNew("--keys-out", keysOut, `${keys.join("\n")}\n`, 0o666);
  say(`${keysOut} has ${keys.length} keys in use`);
  if (keys.length === all.length) return;
  say(
    `${all.length - keys.length} identifiers were left out: no key here can have them, since they are too long or have other signs than letters, digits and ._:/@{}()+-`,
  );
}

/** Whether `key orphans --in-use` reads a line with this identifier as just that. */
function isReadable(key: string): boolean {
  try {
    const [read, ...more] = identifiersIn(Buffer.from(key));
    return read === key && more.length === 0;
  } catch {
    return false;
  }
}

async function verify(urls: readonly string[], given: Verify): Promise<void> {
  const { oldProvider, newProvider } = given;
  if (oldProvider === newProvider) throw new Failure("--new-provider: is the old one");
  const wrong: string[] = [];
  const found = await inventory(urls, given, async (vcenter, { uses }) => {
    const known = await new KeyProviders(vcenter).list();
    wrong.push(...unknownIn(vcenter.host, [oldProvider, newProvider], known, uses));
  });
  if (wrong.length > 0) throw new OperatorError(wrong.join("\n"));
  const old = found.uses.filter(({ provider }) => provider === oldProvider);
  if (old.length > 0) say(listLines(old, { columns }).lines);
  refuseGaps(found);
  refuseOld(oldProvider, old);
  // A setting that only names the provider proves nothing, and a key that is only listed says not what uses it.
  const moved = found.uses.filter(
    ({ kind, provider, keyId }) => provider === newProvider && keyId !== "" && kind !== listedKind,
  );
  if (moved.length === 0) {
    throw new OperatorError(
      `nothing uses ${newProvider}: are the names of the providers right? \`holdfast vcenter audit\` shows them`,
    );
  }
  say(
    `${seenText(found)}; nothing uses ${oldProvider}, and ${moved.length} things use ${newProvider}`,
  );
}

/** A name that a vCenter does not have, such as one that is spelled otherwise there, would be proven unused. */
function unknownIn(
  host: string,
  names: readonly string[],
  known: readonly KeyProvider[],
  uses: readonly KeyUse[],
): readonly string[] {
  const used = [...new Set(uses.map(({ provider }) => provider))].filter((one) => one !== "");
  return names
    .filter((name) => !known.some(({ id }) => id === name))
    .map(
      (name) =>
        `${host}: has no key provider ${name}; it has ${namesOf(known)}, and in use there: ${used.join(", ") || "none"}; nothing is proven`,
    );
}

function refuseOld(oldProvider: string, old: readonly KeyUse[]): void {
  const left = old.filter(({ kind }) => kind !== listedKind);
  if (left.length > 0) {
    throw new OperatorError(
      `${left.length} things still use ${oldProvider}: do not remove it`,
      "conflicting",
    );
  }
  if (old.length === 0) return;
  throw new OperatorError(
    `${old.length} keys of ${oldProvider} are only in vCenter's own list of keys of registered machines and hosts: nothing that was seen uses them, so something was not seen; do not remove ${oldProvider} (docs/from-ibm.md, step 6)`,
    "conflicting",
  );
}

/** What all these vCenters together have; `then` is done in the session of each after it was looked at. */
async function inventory(
  urls: readonly string[],
  site: VcenterSite,
  then?: (vcenter: Vcenter, found: Inventory) => Promise<void>,
): Promise<Inventory> {
  const all: Inventory[] = [];
  await withVcenters(urls, site, async (vcenter) => {
    const one = await inventoryOf(vcenter);
    await then?.(vcenter, one);
    all.push(one);
  });
  const seen: Record<string, number> = {};
  for (const [kind, count] of all.flatMap((one) => Object.entries(one.seen))) {
    seen[kind] = (seen[kind] ?? 0) + count;
  }
  return {
    uses: all.flatMap(({ uses }) => uses),
    unread: all.flatMap(({ unread }) => unread),
    seen,
  };
}

function linesOf(found: Inventory): readonly string[] {
  return [...listLines(found.uses, { columns }).lines, seenText(found)];
}

function seenText({ seen }: Inventory): string {
  const counts = Object.entries(seen).map(([kind, count]) => `${count} ${kind}`);
  return `looked at ${counts.join(", ") || "nothing"}`;
}

/** An inventory with gaps proves nothing, and neither does an empty one. */
function refuseGaps({ unread }: Inventory): void {
  if (unread.length > 0) {
    throw new OperatorError(
      [
        ...unread.slice(0, linesMax),
        `${unread.length} things could not be read, so nothing is proven`,
      ].join("\n"),
      "failed",
    );
  }
}

const linesMax = 20;
