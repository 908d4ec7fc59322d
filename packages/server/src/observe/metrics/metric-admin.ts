import { contract } from "@holdfast/admin";
import { approvalSteps } from "../events.ts";
import {
  booleans,
  combinations,
  counter,
  type EventMetric,
  fromStart,
  seconds,
} from "./metric-row.ts";

/** Metrics that events of the admin API change. */
export const adminMetrics = [
  fromStart(
    counter(
      "holdfast_admin_requests_total",
      "adminRequest",
      "Requests that the admin API answered, by operation (empty for an unknown path) and HTTP status.",
      ["operation", "status"],
      ({ operation, status }) => [operation, String(status)],
    ),
    () => combinations(Object.keys(contract), ["500"]),
  ),
  seconds(
    "holdfast_admin_request_seconds",
    "adminRequest",
    "Time of one request at the admin API, from its headers to the end of its response.",
    ({ durationMs }) => durationMs,
    ["operation"],
    ({ operation }) => [operation],
  ),
  counter(
    "holdfast_admin_denied_total",
    "adminDenied",
    "Requests that the admin API denied: the token is missing, unknown, expired or revoked, or may not do this (role, scope, instance).",
    ["reason"],
    ({ reason }) => [reason],
  ),
  fromStart(
    counter(
      "holdfast_approval_steps_total",
      "approval",
      "Steps of approvals at this node, by step and whether a break-glass key was used.",
      ["step", "break_glass"],
      ({ step, breakGlass }) => [step, String(breakGlass)],
    ),
    () => combinations(approvalSteps, booleans),
  ),
] as const satisfies readonly EventMetric[];
