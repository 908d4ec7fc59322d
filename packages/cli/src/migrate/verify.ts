import { printable } from "@holdfast/admin/approval-text";
import { attributeByTag, attributes, attributeVisible, type ObjectTypeName } from "@holdfast/kmip";
import { OperatorError } from "@holdfast/server/operator-error";
import type { Item } from "@holdfast/ttlv";
import { eachOf } from "../terminal/each.ts";
import { Failure } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { type Plan, type PlanRow, targetId } from "./files/plan-file.ts";
import type { ReportLine } from "./files/report-file.ts";
import { isDropped, relinked } from "./importer.ts";
import { countFault } from "./inventory.ts";
import { fetched, isSame, isTransportKey, TransportKey, wipe } from "./material.ts";
import type { Surroundings } from "./patience.ts";
import type { Described, Peer } from "./peer.ts";
import { attributeWord, firstOf, isNoLoss, lacking, namesOf } from "./plan-row.ts";
import { Progress } from "./progress.ts";

/** What is compared. */
export interface Verifying {
  readonly plan: Plan;
  readonly source: Peer;
  readonly target: Peer;
  /** The lines of the run's report: they name the attributes that could not come. */
  readonly report: ReadonlyMap<string, ReportLine>;
  readonly pageSize: number;
  /** Live objects that the plan leaves at the source are no fault. */
  readonly acceptsLeft: boolean;
  readonly around: Surroundings;
}

const readsAtOnce = 4;
const shownMax = 50;

/** Attributes that each server sets for itself. */
const ownOfServers: ReadonlySet<number> = new Set(
  [
    ...[attributes.UniqueIdentifier, attributes.ShortUniqueIdentifier, attributes.LastChangeDate],
    ...[attributes.LeaseTime, attributes.Fresh, attributes.Digest, attributes.KeyFormatType],
    ...[attributes.ProtectionStorageMask, attributes.OperationPolicyName],
  ].map(({ tag }) => tag),
);

const ownNames = new Set([...ownOfServers].flatMap((tag) => attributeByTag(tag)?.name ?? []));

/** What decides whether and how a key may be used: always compared. */
const decisiveRows = [
  ...[attributes.State, attributes.CryptographicUsageMask],
  ...[attributes.ActivationDate, attributes.DeactivationDate],
];
const decisive: ReadonlySet<number> = new Set(decisiveRows.map(({ tag }) => tag));

/** Reads every object at both sides; succeeds only if the target has all of it, and the source nothing else. */
export async function verify(work: Verifying): Promise<void> {
  const { plan, source, around } = work;
  await requireHoldfast(work.target);
  const behind = staysBehind(plan.rows);
  const faults = [...(await inventoryFaults(work)), ...(work.acceptsLeft ? [] : behind)];
  const planned = plan.rows.filter(({ comes }) => comes);
  const becomes = new Map(planned.flatMap(({ id, becomes: to }) => (to ? [[id, to]] : [])));
  using transport =
    plan.header.transportKey && planned.length > 0
      ? await TransportKey.register(source, around.newId)
      : undefined;
  using progress = new Progress("compared", planned.length, around);
  await eachOf(planned, readsAtOnce, async (row) => {
    const fault = await compared(work, row, becomes, transport);
    progress.add(1);
    if (fault !== undefined) faults.push(`${row.id}: ${fault}`);
  });
  progress[Symbol.dispose]();
  say(...faults.slice(0, shownMax).map(printable));
  if (faults.length > shownMax) say(`… and ${faults.length - shownMax} more`);
  if (faults.length > 0) {
    throw new OperatorError(
      `${faults.length} differences (see above): nothing is proven`,
      "conflicting",
    );
  }
  say(...proven(work, planned, behind.length));
}

/** A second look at the source would prove nothing. */
async function requireHoldfast(target: Peer): Promise<void> {
  const { vendor } = await target.about();
  if (vendor === "Holdfast") return;
  throw new Failure(
    `the target is no Holdfast${vendor === "" ? "" : ` (it says that it is ${printable(vendor)})`}: give an endpoint of the instance with --target-endpoint`,
  );
}

/** The live objects that the plan leaves at the source, and why. */
export function staysBehind(rows: readonly PlanRow[]): readonly string[] {
  return rows.flatMap(({ id, comes, why = "" }) =>
    comes || isNoLoss(why) ? [] : [`${id}: stays behind: ${why}`],
  );
}

/** What was proven, in words; throws if there was nothing to prove it with. */
function proven(
  { plan, report }: Verifying,
  planned: readonly PlanRow[],
  behind: number,
): readonly string[] {
  if (plan.rows.length === 0) return ["the source has no objects"];
  if (planned.length === 0) {
    throw new OperatorError(
      `the plan moves none of the ${plan.rows.length} objects of the source: nothing is proven`,
      "conflicting",
    );
  }
  const without = planned.filter((row) => lacks(row, report.get(row.id))).length;
  const rest = plan.rows.length - planned.length - behind;
  return [
    `${planned.length} objects are the same at both sides: material, state and attributes; the source has no other objects than the plan`,
    ...(without > 0 ? [`${without} of them without attributes that could not come`] : []),
    ...(behind > 0 ? [`${behind} objects stay behind, as --accept-left allows: see the plan`] : []),
    ...(rest > 0
      ? [`${rest} objects have nothing to move: they are destroyed or transport keys`]
      : []),
  ];
}

/** Whether an object came without an attribute, other than those that each server sets for itself. */
export function lacks({ unread = [] }: PlanRow, line: ReportLine | undefined): boolean {
  return [...unread, ...(line?.left ?? [])].some((word) => !ownNames.has(word));
}

/** What the source has now and the plan does not, and the other way round. */
async function inventoryFaults({ plan, source, pageSize }: Verifying): Promise<readonly string[]> {
  const found = await source.identifiers(pageSize);
  const planned = new Set(plan.rows.map(({ id }) => id));
  const now = new Set(found.ids);
  const faults: string[] = [];
  for (const id of found.ids) {
    if (planned.has(id)) continue;
    const one = await source.describe(id);
    const isOurs = !("refused" in one) && isTransportKey(namesOf(one.items));
    if (!isOurs) faults.push(`${id}: new at the source since the plan was made: make a new plan`);
  }
  for (const { id } of plan.rows) {
    if (!now.has(id)) faults.push(`${id}: not at the source any more`);
  }
  const miscounted = countFault(found, source.who);
  return miscounted === undefined ? faults : [...faults, miscounted];
}

/** How an object differs; undefined if it does not. */
async function compared(
  { source, target, report }: Verifying,
  row: PlanRow,
  becomes: ReadonlyMap<string, string>,
  transport: TransportKey | undefined,
): Promise<string | undefined> {
  const there = await source.describe(row.id);
  if ("refused" in there) return `the source does not show it: ${there.refused}`;
  const here = await target.describe(targetId(row));
  if ("refused" in here) {
    return here.gone ? "missing at the target" : `the target does not show it: ${here.refused}`;
  }
  const left = report.get(row.id)?.left ?? [];
  const hidden = hiddenOf(there, [...left, ...(row.unread ?? [])]);
  if (hidden.length > 0) return `the source's ${hidden.join(", ")} cannot be read`;
  const differing = differences(there, here, target, { row, becomes, left });
  if (differing.length > 0) return `differs in ${differing.join(", ")}`;
  const type = row.type as ObjectTypeName;
  const one = await fetched(source, row.id, type, transport);
  const other = await target.object(targetId(row), type);
  try {
    if ("refused" in one) return `the source does not give it: ${one.refused}`;
    if ("refused" in other) return `the target does not give it: ${other.refused}`;
    return isSame(one, other) ? undefined : "the two sides have different material";
  } finally {
    wipe(one);
    wipe(other);
  }
}

/** Attributes that cannot be compared, and that must be: what decides, and what is not known to have stayed behind. */
function hiddenOf({ unread }: Described, left: readonly string[]): readonly string[] {
  return unread.filter(
    (word) => decisiveRows.some(({ name }) => name === word) || !left.includes(word),
  );
}

interface Moved {
  readonly row: PlanRow;
  readonly becomes: ReadonlyMap<string, string>;
  readonly left: readonly string[];
}

/** The attributes of the source that the target does not have with the same values, and an end that only the target has. */
function differences(
  there: Described,
  here: Described,
  target: Pick<Peer, "version">,
  { row, becomes, left }: Moved,
): readonly string[] {
  const wanted = there.items
    .filter(({ tag }) => !ownOfServers.has(tag) && attributeVisible(tag, target.version, row.type))
    .filter((item) => decisive.has(item.tag) || !left.includes(attributeWord(item)))
    .filter((item) => !isDropped(item, row))
    .map((item) => relinked(item, becomes));
  const differing = [...lacking(wanted, here.items), ...addedEnd(there, here)];
  return [...new Set(differing.map(attributeWord))];
}

/** The Deactivation Date that only the target has: the key ends there. A server may date what has ended. */
function addedEnd(there: Described, here: Described): readonly Item[] {
  const endOf = ({ items }: Described) =>
    items.filter(({ tag }) => tag === attributes.DeactivationDate.tag);
  const isOver = /^(Deactivated|Compromised)$/.test(firstOf(there.items, "State") ?? "");
  return isOver || endOf(there).length > 0 ? [] : endOf(here);
}
