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
      "Encrypted machines do not power on or migrate, and vSAN hosts do not mount their disks after a reboot. Running machines continue.",
    confirm:
      "The dashboard KMIP shows the Result Reason; `holdfast doctor` shows which part of which node is at fault.",
    act: "Look for other alerts first: the usual cause is that a store, a root of trust or a region is down, and [runbook.md](runbook.md) has a section for each. If only one node is affected: take it out of the load balancer and restart it. If all nodes are affected since an upgrade: go back to the previous release.",
  },
  HoldfastCreateFails: {
    notice: "vCenter cannot encrypt new machines or re-key old ones. Existing keys are served.",
    confirm:
      "The dashboard Store shows whether Redis accepts changes; `holdfast doctor` checks the store, its memory and disk, and the other region.",
    act: "If a replica is missing: start it. If memory is full: raise `maxmemory`. If only instances of one root of trust are affected: see HoldfastRootOfTrust in [runbook.md](runbook.md).",
  },
  HoldfastGetSlow: {
    notice: "Powering on many encrypted machines at once takes longer; nothing fails yet.",
    confirm:
      "The dashboard Node: if the event loop is late, or the processor is near 1 core, the node lacks CPU. The dashboard Store: if commands are slow, the cause is Redis or its machine. `holdfast status` shows whether a region serves from the other one's store, which adds the line's round trip to each Get.",
    act: "Add a node to the region, or move other programs off its machine. If a store is down: start it.",
  },
  HoldfastHandshakesSlow: {
    notice:
      "vCenter shows the key provider as slow or unreachable for short times; hosts that boot at the same time wait for each other.",
    confirm:
      "The dashboard KMIP: many full or unfinished handshakes at once mean a flood of clients. The dashboard Node: a late event loop means that the node is overloaded.",
    act: "Find the client that connects again and again (the node's log has its address) and stop it. If no client does this, add a node.",
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
    "# Service level objectives",
    "",
    madeFrom("`test/dashboards/slo-page.ts` and the objectives that it names"),
    "",
    `Four objectives over ${periodDays} days, for both regions together:`,
    "",
    table(["objective", "share", "promise"], objectiveRows),
    "",
    "A request counts as failed if the service caused the failure: Result Reasons GeneralFailure, InternalServerError, ServerLimitExceeded, WrappingObjectDestroyed and ProtectionStorageUnavailable. If a key does not exist, or a client may not have it, the request has not failed. The same holds if a root of trust refuses (PermissionDenied): an administrator has disabled or shredded that instance's keys, and [runbook.md](runbook.md) has the alerts for that.",
    "",
    "These figures do not count clients that reach no node at all. vCenter then tries its next key server, and alerts such as `HoldfastNodeGone` fire. They also do not count requests that a fault left unanswered, since these have no operation; `HoldfastRequestsUnanswered` fires for the first one.",
    "",
    "## How fast the budget burns",
    "",
    "The error budget is the share of requests that may fail: for Get, 0.01% in 30 days. An alert fires if the budget burns too fast both in a long window (the problem is not just a short one) and in a short window (the problem still exists).",
    "",
    table(["severity", "windows", "burn rate", "budget used"], burnRows),
    "",
    "`critical` pages somebody; `warning` can wait until working hours. The rules are in [slo.yaml](../deploy/prometheus/slo.yaml), under the names that [sloth](https://sloth.dev) uses. To change an objective, change its row and run `npm run docs`.",
    "",
    "Without requests there is no figure, and no alert. If a month has few requests, one failure can use up the whole budget: then find the cause, and wait until the failure is outside the windows.",
    "",
    ...Object.entries(sections).flatMap(([alert, section]) => [
      `## ${alert}`,
      "",
      ...told(section),
      "",
    ]),
    "## Loading the rules",
    "",
    "`rule_files` of Prometheus names two files: [alerts.yaml](../deploy/prometheus/alerts.yaml) and [slo.yaml](../deploy/prometheus/slo.yaml). Load them in one Prometheus that scrapes the nodes of both regions, or in one in each region: then each has the figures of its own region.",
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
