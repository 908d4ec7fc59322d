export type { Peer, PeerHello, PeerState, PeerStore, PushOutcome, Timers } from "./ports.ts";
