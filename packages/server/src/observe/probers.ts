import type { AddressInfo, Server, Socket } from "node:net";
import { HandshakeLimiter } from "@holdfast/regions";
import { type Address, printAddress } from "../base/address.ts";
import { listenError } from "../base/listen-error.ts";

/** Limits on connections to a port for probes, which need no authentication. */
const limits = {
  strangers: 128,
  strangersOfAddress: 64,
  handshakeMs: Number.POSITIVE_INFINITY,
};
/** Connections that are being closed still count for the listener. */
const closingMax = 128;

/**
 * Limits the connections to a port for probes. At the limit, it closes a connection of the same address, or of the
 * address with the most connections.
 */
export function boundProbers(server: Server): HandshakeLimiter {
  const probers = new HandshakeLimiter(limits, () => undefined);
  server.maxConnections = limits.strangers + closingMax;
  server.on("connection", (socket: Socket) => probers.enter(socket, 0));
  return probers;
}

/** Opens a listener; resolves with its port. Rejects with an `OperatorError` that names the setting. */
export function listening(
  server: Server,
  { host, port }: Address,
  setting: string,
): Promise<number> {
  return new Promise((resolve, reject) => {
    // This handler stays after the listener is open: a failed accept must not end the process.
    server.on("error", (error) =>
      reject(listenError(setting, printAddress({ host, port }), error)),
    );
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}
