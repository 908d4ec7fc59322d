export {
  type LastHello,
  PeerClient,
  type PeerClientOptions,
  type PeerClientTimes,
} from "./net/peer-client.ts";
export { PeerServer, type PeerServerOptions } from "./net/peer-server.ts";
export { type PeerTls, peerName } from "./net/peer-tls.ts";
export type { Peer, PeerHello, PeerState, PeerStore, PushOutcome, Timers } from "./ports.ts";
