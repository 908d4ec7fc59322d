import { type Dashboard, noneIsGood } from "./panel-row.ts";
import { gauge, happens, promql, quantile, rate, rise, sum } from "./promql.ts";

/** Requests of clients, and their results. */
export const kmip: Dashboard = {
  id: "kmip",
  title: "KMIP",
  says: "What clients request, how fast they get responses, and who is refused.",
  variables: ["region", "node"],
  groups: [
    {
      title: "Requests",
      panels: [
        {
          title: "Operations",
          says: "KMIP operations answered per second, one per batch item; compare with an hour ago if something seems wrong.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_requests_total"), "operation"), legend: "{{operation}}" },
          ],
        },
        {
          title: "Failures by Result Reason",
          says: "Operations per second that did not succeed; GeneralFailure is the service's own fault, the others are mostly the client's.",
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
          says: "99 of 100 operations take less time than this in the engine; changes wait for Redis' disk and the other region, reads do not.",
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
          says: "From a request's last byte to its response; a rise here but not by operation means a busy node.",
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
          says: "Requests in the last hour that got no response because of a fault of a node; each is worth a bug report.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [{ expr: sum(rise("holdfast_request_failures_total", "1h")), legend: "" }],
          levels: noneIsGood,
        },
        {
          title: "Share that succeeds",
          says: "Operations that succeed; requests for keys that do not exist lower it too, so check the Result Reasons.",
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
          says: "Operations per second by KMIP version; vCenter uses 1.1, so another version means another client.",
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
          says: "Handshakes per second; a full one costs a node about ten times as much as a resumed one, so a flood of them slows everybody.",
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
          says: "From the TCP connection to the end of its handshake; clients notice more than 250 ms.",
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
          says: "Clients that resume sessions cost less; ESXi hosts do not resume, so a low share alone is not a fault.",
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
          says: "KMIP connections open now; a steady rise without more requests means a client that leaks them.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [{ expr: sum(gauge("holdfast_connections")), legend: "" }],
        },
        {
          title: "Refused clients",
          says: "Clients per second with an unknown, expired or wrong certificate; `holdfast refused list` names them.",
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
          says: "Per second: scans and clients without a common TLS suite; connections beyond `kmip.connectionsMax`; wrong user names or passwords.",
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
          says: "Ended connections per second by reason; `client` and `idle` are usual, `stuck` is a fault of the node.",
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
