import { sysPartition, systemInstance, trailCount, trailsOf } from "@holdfast/engine";
import type { CadfEvent } from "../cadf.ts";

/** Which events are asked for; a filter that is left out matches all. */
export interface EventFilters {
  /** Events of these instances, and those of management about them. */
  readonly instances?: readonly string[] | undefined;
  /** The action, or its beginning followed by `*`; with or without the service's name. */
  readonly action?: string | undefined;
  readonly outcome?: CadfEvent["outcome"] | undefined;
  readonly severity?: CadfEvent["severity"] | undefined;
  /** The target's identifier or name. */
  readonly target?: string | undefined;
  /** The initiator's identifier or name, or a certificate's SHA-256. */
  readonly initiator?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
}

const service = "vmware-solutions.";

/** The trails that may have events that are asked for. */
export function partitionsOf({ instances }: EventFilters): readonly number[] {
  if (instances === undefined) return Array.from({ length: trailCount }, (_, at) => at);
  return [...new Set([...instances.flatMap(trailsOf), sysPartition])];
}

/** Whether an entry may have an event that is asked for; most do not, and need no rendering. */
export function mayMatch(filters: EventFilters, instance: string, timeMs: number): boolean {
  const { instances, fromMs = 0, toMs = Number.POSITIVE_INFINITY } = filters;
  if (timeMs < fromMs || timeMs > toMs) return false;
  return instances === undefined || instance === systemInstance || instances.includes(instance);
}

/** Whether an event of an entry that may match is asked for. */
export function matches(filters: EventFilters, event: CadfEvent): boolean {
  const { instances, action, outcome, severity } = filters;
  if (instances !== undefined && !instances.includes(event.instance)) return false;
  if (outcome !== undefined && event.outcome !== outcome) return false;
  if (severity !== undefined && event.severity !== severity) return false;
  if (action !== undefined && !isAction(action, event.action)) return false;
  return isInitiator(filters.initiator, event) && isTarget(filters.target, event);
}

function isAction(asked: string, action: string): boolean {
  const bare = action.startsWith(service) ? action.slice(service.length) : action;
  if (!asked.endsWith("*")) return action === asked || bare === asked;
  const beginning = asked.slice(0, -1);
  return action.startsWith(beginning) || bare.startsWith(beginning);
}

function isInitiator(asked: string | undefined, { initiator }: CadfEvent): boolean {
  if (asked === undefined) return true;
  const { id, name } = initiator;
  return id === asked || name === asked || id === `CertificateID-${asked}`;
}

function isTarget(asked: string | undefined, { target }: CadfEvent): boolean {
  if (asked === undefined) return true;
  return target.id === asked || target.name === asked || target.id.endsWith(`:${asked}`);
}
