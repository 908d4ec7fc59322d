import { type RootKind, rootKinds } from "@holdfast/root-of-trust/kinds";
import { namedRoots } from "../../records/root-reference.ts";
import { type Check, failed, type SystemSources, warning } from "./sources.ts";

const dayMs = 86_400_000;

/** Finds discontinued roots of trust, of the configuration and of instances in both regions. */
export function endingRootChecks({
  view,
  config,
  wallMs,
}: Pick<SystemSources, "view" | "config" | "wallMs">): Check[] {
  const regions = [config.region, ...(config.peer === undefined ? [] : [config.peer.region])];
  const users = [
    { kind: config.rootOfTrust.type, user: `the configuration (${config.region})` },
    ...view.all("Instance").flatMap((record) =>
      record.destroyed !== undefined
        ? []
        : regions.flatMap((region) => {
            const { current, left } = namedRoots(record, region);
            const user = `${record.name || "an instance"} (${region})`;
            const references = [current, ...left.map(({ reference }) => reference)];
            return references.map((reference) => ({ kind: reference?.type, user }));
          }),
    ),
  ];
  return rootKinds.flatMap(({ kind, ends }: RootKind) => {
    if (ends === undefined) return [];
    const { says, endMs, mend } = ends;
    const under = new Set(users.filter((one) => one.kind === kind).map(({ user }) => user));
    if (under.size === 0) return [];
    const days = Math.ceil((endMs - wallMs()) / dayMs);
    const tell = days > 0 ? warning : failed;
    const left = days > 0 ? `${days} ${days === 1 ? "day is" : "days are"} left` : "it has ended";
    return [tell("root of trust", `${says}; ${left}. Under it: ${[...under].join(", ")}`, mend)];
  });
}
