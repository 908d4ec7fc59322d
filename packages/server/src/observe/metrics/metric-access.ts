import type { CrlReading } from "../../access/crl/revocation-lists.ts";
import { none, type ReadMetric } from "./metric-row.ts";

/** A gauge of each revocation list. */
function ofCrl<const Name extends string>(
  name: Name,
  help: string,
  value: (reading: CrlReading) => number,
): ReadMetric & { readonly name: Name } {
  const read: ReadMetric["read"] = ({ crls }) =>
    (crls?.() ?? []).map((one) => [one.authority, one.source, value(one)]);
  return { type: "gauge", name, help, labels: ["authority", "source"], read };
}

/** Metrics of what shuts out clients: revocation lists and the deny list. */
export const accessMetrics = [
  ofCrl(
    "holdfast_crl_ok",
    "1 if the last reading of a revocation list (CRL) was good. Absent if the configuration names none.",
    ({ fault }) => (fault === "" ? 1 : 0),
  ),
  ofCrl(
    "holdfast_crl_next_update_seconds",
    "When a revocation list ends: the time of its `nextUpdate`, seconds since the epoch; 0 if none was read. Absent if the configuration names none.",
    ({ crl }) => Math.floor((crl?.nextUpdateMs ?? 0) / 1000),
  ),
  ofCrl(
    "holdfast_crl_entries",
    "Certificates in a revocation list. Absent if the configuration names none.",
    ({ crl }) => crl?.revoked.size ?? 0,
  ),
  {
    type: "gauge",
    name: "holdfast_denials",
    help: "Denials in force: the length of the deny list. Absent until the node has read it.",
    labels: none,
    read: ({ denials }) => {
      const count = denials?.();
      return count === undefined ? [] : [[count]];
    },
  },
  {
    type: "gauge",
    name: "holdfast_break_glass",
    help: "Ways around approvals: requests that a break-glass key signed within a day (signed), and changes of the approval policy that wait without the signatures of its approvers (policy). Absent until the node has read them.",
    labels: ["kind"],
    read: ({ breakGlass }) => breakGlass?.() ?? [],
  },
] as const satisfies readonly ReadMetric[];
