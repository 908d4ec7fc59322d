import type { AddressInfo, Server, Socket } from "node:net";
import { HandshakeLimiter } from "@holdfast/regions";
import { type Address, printAddress } from "../base/address.ts";
import { listenError } from "../base/listen-error.ts";

/** Connections to a port for probes, which nobody has to say his name at. */
const limits = {
  strangers: 128,
  strangersOfAddress: 64,
  handshakeMs: Number.POSITIVE_INFINITY,
};
/** Connections that are being closed still count at the listener. */
const closingMax = 128;

/** Bounds the connections of a port for probes: at the bound one of the same address goes, or of the one with the most. */
export function boundProbers(server: Server): HandshakeLimiter {
  const probers = new HandshakeLimiter(limits, () => undefined);
  server.maxConnections = limits.strangers + closingMax;
  server.on("connection", (socket: Socket) => probers.enter(socket, 0));
  return probers;
}

/** Opens a listener; resolves with its port. Rejects with a `OperatorError` that names the setting. */
export function listening(
  server: Server,
  { host, port }: Address,
  setting: string,
): Promise<number> {
  return new Promise((resolve, reject) => {
    // Stays when the listener is open: a failed accept must not end the process.
    server.on("error", (error) =>
      reject(listenError(setting, printAddress({ host, port }), error)),
    );
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}
