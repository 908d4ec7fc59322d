import type { Http2Server, ServerHttp2Session } from "node:http2";
import type { Server } from "@grpc/grpc-js";

/**
 * Bytes that one stream and one connection may have under way: at 80 ms of round trip, 12 MB/s and
 * more.
 */
const streamWindow = 1024 * 1024;
export const connectionWindow = 2 * streamWindow;

/**
 * Widens the windows of a server's connections from 64 KiB, which would let a distant region send
 * 0.8 MB/s. grpc-js has an option for its clients only, so this looks into the server for the
 * HTTP/2 servers that it made; where it finds none, the windows stay as they are. Returns whether
 * it found one.
 */
export function widenWindows(server: Server): boolean {
  const made: unknown = Reflect.get(server, "http2Servers");
  if (!(made instanceof Map)) return false;
  let found = false;
  for (const http2 of made.keys() as Iterable<Http2Server>) {
    if (typeof http2.updateSettings !== "function") continue;
    http2.updateSettings({ initialWindowSize: streamWindow });
    http2.on("session", (session: ServerHttp2Session) =>
      session.setLocalWindowSize(connectionWindow),
    );
    found = true;
  }
  return found;
}
