import { type Call, type Contract, type Handlers, ManagementError } from "@holdfast/admin";
import { StoreUnavailable } from "@holdfast/engine";
import type { CadfEvent } from "./cadf.ts";
import type { EventFilters } from "./event-filters.ts";
import type { AuditReader } from "./reader.ts";

/** What the routes of events stand on. */
export interface EventsDeps {
  readonly reader: AuditReader;
  readonly region: string;
}

/** Followers at the same time; each one asks the store. */
const followersMax = 32;

/** The routes of audit events. */
export function eventsHandlers({
  reader,
  region,
}: EventsDeps): Pick<Handlers, "listEvents" | "followEvents"> {
  let followers = 0;
  async function* follow(call: Call<Contract["followEvents"]>): AsyncGenerator<CadfEvent> {
    if (followers >= followersMax) {
      throw new ManagementError("tooMany", `${followersMax} callers follow events already`);
    }
    followers += 1;
    try {
      const { signal, lastEventId } = call;
      yield* reader.follow(filtersOf(call), { signal, lastEventId });
    } finally {
      followers -= 1;
    }
  }
  return {
    async listEvents(call) {
      const { region: asked, limit, cursor } = call.query;
      if (asked !== undefined && asked !== region) {
        const detail = `query.region: this node has the events of region ${region}; ask one of ${asked}`;
        throw new ManagementError("invalid", detail);
      }
      try {
        const { events, next } = await reader.query(filtersOf(call), { limit, cursor });
        return { items: [...events], ...(next === undefined ? {} : { next }) };
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        throw new ManagementError(
          "storeUnavailable",
          `the events of region ${region} lie in its own store, which cannot be read now; try again`,
        );
      }
    },
    followEvents: follow,
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
    ...{ action, outcome, severity, target, initiator },
    fromMs: from === undefined ? undefined : Date.parse(from),
    toMs: to === undefined ? undefined : Date.parse(to),
  };
}
