import { type Call, type Contract, type Handlers, ManagementError } from "@holdfast/admin";
import type { CadfSettings } from "./cadf.ts";
import type { EventFilters } from "./trail/event-filters.ts";
import { followTrails } from "./trail/follow-trails.ts";
import type { Trail } from "./trail/trail.ts";
import { queryTrails } from "./trail/trails.ts";

export interface EventsDeps {
  /** This region's first. */
  readonly trails: () => readonly Trail[];
  readonly cadf: CadfSettings;
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  /** How often new events are looked for; 500 ms unless given. */
  readonly followMs?: number;
}

/** The routes of audit events. */
export function eventsHandlers(deps: EventsDeps): Pick<Handlers, "listEvents" | "followEvents"> {
  return {
    async listEvents(call) {
      const { region, limit, cursor } = call.query;
      const trails = deps.trails();
      if (region !== undefined && !trails.some((trail) => trail.region === region)) {
        const names = trails.map((trail) => trail.region).join(", ");
        throw new ManagementError("invalid", `query.region: must be one of ${names}`);
      }
      const wish = { region, limit, cursor };
      const page = await queryTrails(trails, filtersOf(call), wish, deps.cadf);
      const { events, next, missing } = page;
      return {
        items: [...events],
        ...(next !== undefined && { next }),
        ...(missing.length > 0 && { missing: [...missing] }),
      };
    },
    followEvents: (call) =>
      followTrails(deps, filtersOf(call), { signal: call.signal, lastEventId: call.lastEventId }),
  };
}

type EventsQuery = Partial<Call<Contract["listEvents"]>["query"]>;

function filtersOf({
  principal,
  query,
}: {
  readonly principal: { readonly instances: readonly string[] | undefined };
  readonly query: EventsQuery;
}): EventFilters {
  const { instance, from, to, action, outcome, severity, target, initiator } = query;
  return {
    instances: instance === undefined ? principal.instances : [instance],
    action,
    outcome,
    severity,
    target,
    initiator,
    fromMs: from === undefined ? undefined : Date.parse(from),
    toMs: to === undefined ? undefined : Date.parse(to),
  };
}
