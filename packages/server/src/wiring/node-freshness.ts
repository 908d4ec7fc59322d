import type { KmipEndpoint } from "../kmip/kmip-endpoint.ts";
import { Freshness } from "../management/freshness.ts";
import type { SystemView } from "../records/system-view.ts";
import { clock, type Parts } from "./node-parts.ts";
import type { Regions } from "./node-regions.ts";

const reason = "the system records cannot be read although a store serves";

/** While the trust is not known, admits no client and cuts off open connections. */
export function watchFreshness(
  { health, loop, observe, opened }: Parts,
  store: Regions["store"],
  view: SystemView,
  endpoint: KmipEndpoint,
): void {
  const freshness = new Freshness();
  let known = true;
  const look = (): void => {
    const serves = store.serving().from !== "none";
    const ok = freshness.look({
      nowMs: clock.monotonicMs(),
      serves,
      freshAtMs: view.freshAtMs,
    });
    if (ok === known) return;
    known = ok;
    health.note({ records: { ok, reason: ok ? "" : reason } });
    if (ok) return;
    observe({ type: "warning", message: `${reason}: no client is admitted` });
    endpoint.cutAll("the trust cannot be checked");
  };
  opened.defer(loop.onTick(look));
}
