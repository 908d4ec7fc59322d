import { create } from "@bufbuild/protobuf";
import { StoreUnavailable, type Timers } from "@holdfast/engine";
import {
  type HelloReply,
  type HelloRequest,
  HelloRequestSchema,
} from "../gen/holdfast/peer/v1/peer_pb.ts";
import type { PeerHello } from "../ports/ports.ts";
import { plain } from "./status.ts";
import { checkVersions, features, protocolMax, protocolMin } from "./versions.ts";
import { numberOf } from "./wire.ts";

/** What a node says of itself when it meets another region's. */
export function helloRequest(ownRegion: string, timers: Timers): HelloRequest {
  return create(HelloRequestSchema, {
    protocolMin,
    protocolMax,
    features: [...features],
    region: ownRegion,
    wallMs: BigInt(Math.max(0, Math.trunc(timers.wallMs()))),
  });
}

/** What the other region says of itself; rejects another region, and one that speaks no version of ours. */
export function helloOf(reply: HelloReply, region: string): PeerHello {
  if (reply.region !== region) {
    throw new StoreUnavailable(
      "peerUnreachable",
      `region ${region} answers as region ${plain(reply.region).slice(0, 64)}`,
    );
  }
  checkVersions(region, reply);
  return {
    region,
    generation: numberOf(reply.generation),
    retired: numberOf(reply.retired),
    serving: reply.serving,
    wallMs: numberOf(reply.wallMs),
    recordFormat: reply.recordFormat,
  };
}
