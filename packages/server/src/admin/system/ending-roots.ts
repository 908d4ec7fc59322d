import { systemTypes } from "@holdfast/engine";
import { namedRoots, type RootReference } from "../../records/root-reference.ts";
import { type Check, failed, type SystemSources, warning } from "./sources.ts";

type Kind = RootReference["type"];

/** Kinds of root of trust whose maker ends them, with the maker's dates. */
const endings: Readonly<Partial<Record<Kind, { says: string; endMs: number; mend: string }>>> = {
  hpcs: {
    says: "IBM makes no new instance of Hyper Protect Crypto Services since 28 March 2026, supports it until 28 March 2027, and then deletes what is left",
    endMs: Date.UTC(2027, 2, 29),
    mend: "before that, move to Key Protect or Dedicated Key Protect with `holdfast root-of-trust configure`: see docs/root-of-trust-hpcs.md",
  },
};

/** Roots of trust, of instances and of the configuration, that will not be there for long; of both regions. */
export function endingRootChecks({
  view,
  config,
  wallMs,
}: Pick<SystemSources, "view" | "config" | "wallMs">): Check[] {
  const regions = [config.region, ...(config.peer === undefined ? [] : [config.peer.region])];
  const users = [
    { kind: config.rootOfTrust.type, user: `the configuration (${config.region})` },
    ...view.documents(systemTypes.Instance).flatMap(({ fields, destroyed }) =>
      destroyed !== undefined
        ? []
        : regions.flatMap((region) => {
            const { current, left } = namedRoots(fields, region);
            const user = `${fields["name"] ?? "an instance"} (${region})`;
            const references = [current, ...left.map(({ reference }) => reference)];
            return references.map((reference) => ({ kind: reference?.type, user }));
          }),
    ),
  ];
  return Object.entries(endings).flatMap(([kind, { says, endMs, mend }]) => {
    const under = new Set(users.filter((one) => one.kind === kind).map(({ user }) => user));
    if (under.size === 0) return [];
    const tell = wallMs() < endMs ? warning : failed;
    return [tell("root of trust", `${says}. Under it: ${[...under].join(", ")}`, mend)];
  });
}
