import type { PeerCertificate, TLSSocket } from "node:tls";
import { ChannelCredentials, Client } from "@grpc/grpc-js";
import { proveLink } from "../link-proof.ts";
import {
  dnsNamesOf,
  fingerprintOf,
  type MessageSize,
  nodeOf,
  type PeerIdentity,
  peerName,
  serverName,
} from "../peer-tls.ts";
import { serverLimits } from "../server-limits.ts";
import { connectionWindow } from "../windows.ts";

const reconnectMs = 100;
const reconnectMaxMs = 1_000;
const keepaliveMs = 2_000;
const keepaliveWaitMs = 4_000;

/** A node of another region that has proven its region's key. */
export interface ProvenNode {
  readonly node: string;
  /** SHA-256 of its certificate, lower-case hex. */
  readonly fingerprint: string;
  /** When its certificate ends, milliseconds since the epoch. */
  readonly endsMs: number;
}

export interface ChannelOptions {
  readonly address: string;
  readonly region: string;
  readonly ownRegion: string;
  readonly identity: PeerIdentity;
  readonly size: MessageSize;
  /** Why a certificate is refused, if it is. */
  readonly refusal: (fingerprint: string) => string | undefined;
  readonly proven: (node: ProvenNode) => void;
  /** The node has a certificate of the region, but has not proven its key. */
  readonly unproven: (reason: string) => void;
}

/** A connection to one node of a region, made when it is first used and again when it is lost. */
export function openChannel(options: ChannelOptions): Client {
  const { address, region, identity, size } = options;
  const name = peerName(region);
  const inner = ChannelCredentials.createFromSecureContext(identity.context, {
    checkServerIdentity: (_host: string, certificate: PeerCertificate) => {
      const names = dnsNamesOf(certificate.subjectaltname);
      // Exactly that name: a wildcard would match every region.
      if (!names.includes(name.toLowerCase())) {
        return new Error(`its certificate does not name ${name}`);
      }
      if (nodeOf(names, region) === undefined) {
        return new Error(`its certificate does not name one node, as NODE.${name}`);
      }
      return undefined;
    },
  });
  const credentials = new ProvingCredentials(inner, (socket) => proven(socket, options));
  return new Client(address, credentials, {
    "grpc.ssl_target_name_override": serverName(region, size),
    "grpc.default_authority": name,
    // One connection per client, so that a new one has the new certificates.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": reconnectMs,
    "grpc.max_reconnect_backoff_ms": reconnectMaxMs,
    "grpc.keepalive_time_ms": keepaliveMs,
    "grpc.keepalive_timeout_ms": keepaliveWaitMs,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.max_receive_message_length":
      size === "small" ? serverLimits.replyBytes : serverLimits.largeReplyBytes,
    "grpc.max_send_message_length": -1,
    "grpc.enable_retries": 0,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_channelz": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc-node.flow_control_window": connectionWindow,
  });
}

/** Resolves once both sides have proven their region's key; destroys the socket and rejects with one line otherwise. */
async function proven(
  socket: TLSSocket,
  { region, ownRegion, identity, refusal, ...options }: ChannelOptions,
): Promise<void> {
  // Node answers this only once on the side of a client.
  const certificate = socket.getPeerX509Certificate();
  const late = setTimeout(() => socket.destroy(), serverLimits.handshakeMs);
  const { keys } = identity;
  const side = { role: "client", own: ownRegion, other: region } as const;
  const checked = await proveLink(socket, { ...side, certificate, keys });
  clearTimeout(late);
  const fault = "fault" in checked ? checked.fault : undefined;
  if (fault === undefined && certificate !== undefined && !socket.destroyed) {
    const fingerprint = fingerprintOf(certificate);
    const why = refusal(fingerprint);
    if (why !== undefined) {
      socket.destroy();
      throw new Error(why);
    }
    const node = nodeOf(dnsNamesOf(certificate.subjectAltName), region) ?? "";
    options.proven({ node, fingerprint, endsMs: Date.parse(certificate.validTo) });
    return;
  }
  socket.destroy();
  const reason = fault ?? "it closed the connection before its region key was proven";
  if ("fault" in checked && checked.cut !== true) options.unproven(reason);
  throw new Error(reason);
}

type Connector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

/** Credentials whose connections are used only once `prove` has resolved. */
class ProvingCredentials extends ChannelCredentials {
  readonly #inner: ChannelCredentials;
  readonly #prove: (socket: TLSSocket) => Promise<void>;

  constructor(inner: ChannelCredentials, prove: (socket: TLSSocket) => Promise<void>) {
    super();
    this.#inner = inner;
    this.#prove = prove;
  }

  _isSecure(): boolean {
    return true;
  }

  _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  _createSecureConnector(
    ...given: Parameters<ChannelCredentials["_createSecureConnector"]>
  ): Connector {
    const inner = this.#inner._createSecureConnector(...given);
    return {
      connect: async (socket) => {
        const made = await inner.connect(socket);
        await this.#prove(made.socket as TLSSocket);
        return made;
      },
      waitForReady: () => inner.waitForReady(),
      getCallCredentials: () => inner.getCallCredentials(),
      destroy: () => inner.destroy(),
    };
  }
}
