import type { KmipEndpoint } from "../kmip/kmip-endpoint.ts";
import { Freshness } from "../management/freshness.ts";
import type { Health } from "../observe/health.ts";
import type { LoopProbe } from "../observe/loop-probe.ts";
import type { SystemView } from "../records/system-view.ts";
import { clock, type Parts } from "./node-parts.ts";
import type { Regions } from "./node-regions.ts";

const stale = "the system records cannot be read although a store serves";
const unread = "a record of the deny list cannot be read";

/** What `watchFreshness` reports to. */
interface Around extends Pick<Parts, "observe" | "opened"> {
  readonly health: Pick<Health, "note">;
  readonly loop: Pick<LoopProbe, "onTick">;
}

/** While the trust is not known, admits no client and cuts off open connections. */
export function watchFreshness(
  { health, loop, observe, opened }: Around,
  store: Pick<Regions["store"], "serving">,
  view: Pick<SystemView, "freshAtMs" | "unreadDenials">,
  endpoint: Pick<KmipEndpoint, "cutAll">,
): void {
  const freshness = new Freshness();
  let known = "";
  const look = (): void => {
    const serves = store.serving().from !== "none";
    const { freshAtMs, unreadDenials } = view;
    const fresh = freshness.look({ nowMs: clock.monotonicMs(), serves, freshAtMs });
    const readable = unreadDenials.size === 0 ? "" : unread;
    const reason = fresh ? readable : stale;
    if (reason !== known) {
      known = reason;
      health.note({ records: { ok: reason === "", reason } });
      if (reason !== "") observe({ type: "warning", message: `${reason}: no client is admitted` });
    }
    // At every look: a handshake that was under way at the first cut may end after it.
    if (reason !== "") endpoint.cutAll("the trust cannot be checked");
  };
  opened.defer(loop.onTick(look));
}
