import { StoreUnavailable } from "@holdfast/engine";
import type { PeerHello } from "../ports/ports.ts";
import type { ReplyOf } from "./codecs.ts";
import { plain } from "./status.ts";
import { checkVersions } from "./versions.ts";

/**
 * What the other region says about itself; throws for another region, and for one that speaks no
 * version of ours.
 */
export function helloOf(reply: ReplyOf<"hello">, region: string): PeerHello {
  if (reply.region !== region) {
    throw new StoreUnavailable(
      "peerUnreachable",
      `region ${region} answers as region ${plain(reply.region).slice(0, 64)}`,
    );
  }
  checkVersions(region, reply);
  const { protocolMin: _, protocolMax: __, features: ___, id: ____, ...hello } = reply;
  return hello;
}
