import { objectives, percentOf, periodDays } from "@holdfast/server";
import { code, madeFrom, table } from "../docs/markdown.ts";
import { burns } from "./slo-rules.ts";

interface Section {
  readonly notice: string;
  readonly confirm: string;
  readonly act: string;
}

type AlertName = (typeof objectives)[number]["alert"];

/** For each alert: what users notice, how to confirm it, what to do. */
const sections: Readonly<Record<AlertName, Section>> = {
  HoldfastGetFails: {
    notice:
      "Encrypted machines do not power on or migrate, and vSAN hosts do not mount their disks after a reboot. Running machines go on.",
    confirm:
      "The dashboard KMIP says which Result Reason; `holdfast doctor` says which part of which node is at fault.",
    act: "Look for other alerts first: a store, a root of trust or a region that is out is the usual cause, and has a section of its own in [runbook.md](runbook.md). One node only: take it out of the load balancer and restart it. All nodes since an upgrade: go back to the release before.",
  },
  HoldfastCreateFails: {
    notice: "vCenter cannot encrypt new machines or re-key old ones. Keys that exist are served.",
    confirm:
      "The dashboard Store says whether Redis takes changes; `holdfast doctor` names the store, a full memory or disk, and the other region.",
    act: "A short barrier: bring back the missing replica. Memory full: raise `maxmemory`. Only instances of one root of trust: see HoldfastRootOfTrust in [runbook.md](runbook.md).",
  },
  HoldfastGetSlow: {
    notice: "Powering on many encrypted machines at once takes longer; nothing fails yet.",
    confirm:
      "The dashboard Node: event loop and processor near 1 core mean too little of them. The dashboard Store: slow commands mean Redis or its machine. `holdfast status` says whether a region serves from the other one's store, which adds the line's round trip to each Get.",
    act: "Add a node to the region, or move what else runs on its machine. Where a store is out: bring it back.",
  },
  HoldfastHandshakesSlow: {
    notice:
      "vCenter shows the key provider as slow or unreachable for moments; hosts that boot together wait for each other.",
    confirm:
      "The dashboard KMIP: many full handshakes at once, or unfinished ones, are a flood of clients; the dashboard Node: an event loop that is late is a node with too much work.",
    act: "Find the client that connects again and again (the log of a node has its address) and stop it. Otherwise add a node.",
  },
};

/** `docs/slo.md`. */
export function sloPage(): string {
  const objectiveRows = objectives.map(({ title, objective, says }) => [
    title,
    percentOf(objective),
    says,
  ]);
  const burnRows = Object.entries(burns).flatMap(([severity, pairs]) =>
    pairs.map(({ long, short, factor }) => [
      severity,
      `${long} and ${short}`,
      `${factor} ×`,
      `${Math.round((factor * hoursOf(long) * 100) / (periodDays * 24))}% in ${long}`,
    ]),
  );
  return [
    "# What clients can expect",
    "",
    madeFrom("`test/dashboards/slo-page.ts` and the objectives that it names"),
    "",
    `Four objectives over ${periodDays} days, for both regions together:`,
    "",
    table(["objective", "share", "promise"], objectiveRows),
    "",
    "A request counts as failed when the fault is the service's own: Result Reasons GeneralFailure, InternalServerError, ServerLimitExceeded, WrappingObjectDestroyed and ProtectionStorageUnavailable. A key that is not there, or a client that may not have it, is an answer. So is a refusal by a root of trust (PermissionDenied): an administrator disabled or shredded that instance's keys, and [runbook.md](runbook.md) has its alerts.",
    "",
    "What these figures do not see: a client that reaches no node at all. vCenter then goes to its next key server, and `HoldfastNodeGone` and its like fire. Requests that a fault left without any answer have no operation; `HoldfastRequestsUnanswered` fires for the first one.",
    "",
    "## How fast the budget burns",
    "",
    "The error budget is what an objective leaves: 0.01% of all Gets in 30 days. An alert fires when it burns so fast that it matters, in a long window (it is no blip) and in a short one (it still goes on).",
    "",
    table(["severity", "both windows", "faster than planned", "budget that is gone"], burnRows),
    "",
    "`critical` wakes somebody, `warning` waits for the morning. The rules are in [slo.yaml](../deploy/prometheus/slo.yaml), under the names that [sloth](https://sloth.dev) gives; to change an objective, change its row and run `npm run docs`.",
    "",
    "Without requests there is no figure, and no alert. Where a month has few requests, one failure may spend the whole budget: then look at the cause, and wait for the windows to pass.",
    "",
    ...Object.entries(sections).flatMap(([alert, section]) => [
      `## ${alert}`,
      "",
      ...told(section),
      "",
    ]),
    "## Loading the rules",
    "",
    "`rule_files` of Prometheus names two files: [alerts.yaml](../deploy/prometheus/alerts.yaml) and [slo.yaml](../deploy/prometheus/slo.yaml). Load them where nodes of both regions are scraped, or in each region: then each Prometheus has the figures of its own region.",
    "",
    `The dashboards in ${code("deploy/grafana/")} show the figures; ${code("npm start -- --dashboards")} shows them on this machine.`,
    "",
  ].join("\n");
}

function told({ notice, confirm, act }: Section): readonly string[] {
  return [`*What users notice.* ${notice}`, "", `*Confirm it.* ${confirm}`, "", `*Do.* ${act}`];
}

function hoursOf(window: string): number {
  return Number.parseInt(window, 10) * (window.endsWith("d") ? 24 : 1);
}
