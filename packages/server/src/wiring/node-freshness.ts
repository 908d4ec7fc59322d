import type { KmipEndpoint } from "../kmip/kmip-endpoint.ts";
import { Freshness } from "../management/freshness.ts";
import type { SystemView } from "../records/system-view.ts";
import { clock, type Parts } from "./node-parts.ts";
import type { Regions } from "./node-regions.ts";

const stale = "the system records cannot be read although a store serves";
const unread = "a record of the deny list cannot be read";

/** While the trust is not known, admits no client and cuts off open connections. */
export function watchFreshness(
  { health, loop, observe, opened }: Parts,
  store: Regions["store"],
  view: SystemView,
  endpoint: KmipEndpoint,
): void {
  const freshness = new Freshness();
  let known = "";
  const look = (): void => {
    const serves = store.serving().from !== "none";
    const { freshAtMs, unreadDenials } = view;
    const fresh = freshness.look({ nowMs: clock.monotonicMs(), serves, freshAtMs });
    const readable = unreadDenials.size === 0 ? "" : unread;
    const reason = fresh ? readable : stale;
    if (reason === known) return;
    known = reason;
    health.note({ records: { ok: reason === "", reason } });
    if (reason === "") return;
    observe({ type: "warning", message: `${reason}: no client is admitted` });
    endpoint.cutAll("the trust cannot be checked");
  };
  opened.defer(loop.onTick(look));
}
