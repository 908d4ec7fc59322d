import { type Dashboard, noneIsGood } from "./panel-row.ts";
import { gauge, happens, promql, quantile, rate, rise, sum } from "./promql.ts";

/** What clients ask, and what they get. */
export const kmip: Dashboard = {
  id: "kmip",
  title: "KMIP",
  says: "What clients ask, how fast they are answered, and who is refused.",
  variables: ["region", "node"],
  groups: [
    {
      title: "Requests",
      panels: [
        {
          title: "Operations",
          says: "KMIP operations answered each second, one a batch item; compare with an hour ago when something seems wrong.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_requests_total"), "operation"), legend: "{{operation}}" },
          ],
        },
        {
          title: "Failures by Result Reason",
          says: "Operations each second that did not succeed; GeneralFailure is the service's own fault, the others mostly the client's.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(rate("holdfast_requests_total", 'result!="Success"'), "result"),
              legend: "{{result}}",
            },
          ],
          quiet: "no operation failed",
        },
        {
          title: "Duration by operation, slowest of a hundred",
          says: "Time in the engine that 99 of 100 operations stay below; changes wait for Redis' disk and the other region, reads do not.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: quantile(0.99, "holdfast_operation_seconds", ["operation"]),
              legend: "{{operation}}",
            },
          ],
        },
        {
          title: "Whole requests",
          says: "From a request's last byte to its answer; a rise here but not by operation is a busy node.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            { expr: quantile(0.5, "holdfast_request_seconds"), legend: "half are faster" },
            { expr: quantile(0.99, "holdfast_request_seconds"), legend: "99 of 100 are faster" },
          ],
        },
        {
          title: "Without an answer",
          says: "Requests in the last hour that a fault of a node left without an answer; any is worth a report.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [{ expr: sum(rise("holdfast_request_failures_total", "1h")), legend: "" }],
          levels: noneIsGood,
        },
        {
          title: "Share that succeeds",
          says: "Operations that succeed; clients that ask for keys that are not there lower it too, so see the Result Reasons.",
          unit: "share",
          kind: "stat",
          width: 6,
          queries: [
            {
              expr: promql`${sum(rate("holdfast_requests_total", 'result="Success"'))} / ${sum(rate("holdfast_requests_total"))}`,
              legend: "",
            },
          ],
          levels: [["warn"], ["good", 0.95]],
        },
        {
          title: "Protocol versions",
          says: "Operations each second by KMIP version; vCenter speaks 1.1, so another one is another client.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_requests_total"), "version"), legend: "KMIP {{version}}" },
          ],
        },
      ],
    },
    {
      title: "Connections",
      panels: [
        {
          title: "TLS handshakes",
          says: "Handshakes each second; full ones cost a node about ten times a resumed one, so a flood of them slows everybody.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(rate("holdfast_handshakes_total", 'resumed="true"')),
              legend: "resumed",
            },
            { expr: sum(rate("holdfast_handshakes_total", 'resumed="false"')), legend: "full" },
          ],
        },
        {
          title: "Handshake duration, slowest of a hundred",
          says: "From a TCP connection to the end of its handshake; beyond 250 ms clients notice.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: quantile(0.99, "holdfast_handshake_seconds", [], 'resumed="true"'),
              legend: "resumed",
            },
            {
              expr: quantile(0.99, "holdfast_handshake_seconds", [], 'resumed="false"'),
              legend: "full",
            },
          ],
        },
        {
          title: "Share of resumed handshakes",
          says: "Clients that keep sessions cost less; ESXi hosts do not resume, so a low share alone is not a fault.",
          unit: "share",
          kind: "stat",
          width: 6,
          queries: [
            {
              expr: promql`${sum(rate("holdfast_handshakes_total", 'resumed="true"'))} / ${sum(happens("holdfast_handshake_seconds"))}`,
              legend: "",
            },
          ],
          quiet: "no handshake",
        },
        {
          title: "Open connections",
          says: "KMIP connections open now; a steady rise without more requests is a client that leaks them.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [{ expr: sum(gauge("holdfast_connections")), legend: "" }],
        },
        {
          title: "Refused clients",
          says: "Clients with an unknown, expired or wrong certificate, each second; `holdfast refused list` names them.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(rate("holdfast_handshakes_total", 'outcome!="accepted"'), "outcome"),
              legend: "{{outcome}}",
            },
          ],
          quiet: "no client was refused",
        },
        {
          title: "Unfinished handshakes, dropped connections, wrong passwords",
          says: "Each second: scans and clients without a common TLS suite; connections beyond `kmip.connectionsMax`; user names or passwords that are wrong.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(rate("holdfast_handshake_failures_total")),
              legend: "unfinished handshakes",
            },
            {
              expr: sum(rate("holdfast_connections_dropped_total")),
              legend: "dropped connections",
            },
            { expr: sum(rate("holdfast_password_refusals_total")), legend: "wrong passwords" },
          ],
        },
        {
          title: "How connections end",
          says: "Ended connections each second by reason; `client` and `idle` are usual, `stuck` is a fault of the node.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_connections_ended_total"), "reason"), legend: "{{reason}}" },
          ],
        },
      ],
    },
  ],
};
