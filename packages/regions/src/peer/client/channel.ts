import type { PeerCertificate } from "node:tls";
import { ChannelCredentials, Client } from "@grpc/grpc-js";
import {
  dnsNamesOf,
  fingerprintOf,
  type MessageSize,
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

/**
 * A connection to one node of a region, made when it is first used and again when it is lost. `refusal` says why the
 * certificate that the node shows is refused, if it is.
 */
export function openChannel(
  address: string,
  region: string,
  identity: PeerIdentity,
  size: MessageSize,
  refusal: (fingerprint: string) => string | undefined,
): Client {
  const name = peerName(region);
  const credentials = ChannelCredentials.createFromSecureContext(identity.context, {
    checkServerIdentity: (_host: string, certificate: PeerCertificate) => {
      // Exactly that name: a wildcard would match every region.
      if (!dnsNamesOf(certificate.subjectaltname).includes(name.toLowerCase())) {
        return new Error(`its certificate does not name ${name}`);
      }
      const why = refusal(fingerprintOf(certificate));
      return why === undefined ? undefined : new Error(why);
    },
  });
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
