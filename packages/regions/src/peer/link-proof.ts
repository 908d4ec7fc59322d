import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { fingerprintOf } from "./peer-tls.ts";
import { type LinkCheck, type LinkEnds, linkProofBytes, type RegionKeys } from "./region-keys.ts";

/** Names the exporter that binds a proof to its TLS session (RFC 9266). */
const exporterLabel = "EXPORTER-Channel-Binding";
const exporterBytes = 32;

/** One side of a new connection between two regions. */
export interface LinkSide {
  readonly role: "client" | "server";
  /** The region of this side, and of the other one. */
  readonly own: string;
  readonly other: string;
  /** What the other side has shown. */
  readonly certificate: X509Certificate | undefined;
  readonly keys: RegionKeys;
}

/**
 * Proves the own region key and checks the other side's, as the first bytes after TLS. Never rejects. It waits
 * until the socket ends: the caller bounds the time.
 */
export async function proveLink(socket: TLSSocket, side: LinkSide): Promise<LinkCheck> {
  const { role, keys } = side;
  const ends = endsOf(socket, side);
  if (ends === undefined) return { fault: "the connection is not TLS 1.3 with two certificates" };
  // HTTP/2 takes the socket over, and must not find a write under way.
  const written = new Promise<void>((resolve) => {
    socket.write(keys.prove(role, ends), () => resolve());
  });
  const [sent] = await Promise.all([read(socket, linkProofBytes), written]);
  return keys.check(role === "client" ? "server" : "client", ends, sent);
}

function endsOf(
  socket: TLSSocket,
  { role, own, other, certificate: theirs }: LinkSide,
): LinkEnds | undefined {
  const mine = socket.getX509Certificate();
  if (mine === undefined || theirs === undefined || socket.getProtocol() !== "TLSv1.3") {
    return undefined;
  }
  const here = { region: own, fingerprint: fingerprintOf(mine) };
  const there = { region: other, fingerprint: fingerprintOf(theirs) };
  const exporter = socket.exportKeyingMaterial(exporterBytes, exporterLabel, Buffer.alloc(0));
  return role === "client"
    ? { client: here, server: there, exporter }
    : { client: there, server: here, exporter };
}

/** Exactly so many bytes; fewer if the socket ends before. What follows them stays in the socket. */
function read(socket: TLSSocket, bytes: number): Promise<Buffer> {
  return new Promise((resolve) => {
    const done = (got: Buffer): void => {
      socket.off("readable", look).off("end", cut).off("close", cut).off("error", cut);
      resolve(got);
    };
    const cut = (): void => done(Buffer.alloc(0));
    const look = (): void => {
      const got: Buffer | null = socket.read(bytes);
      if (got !== null) done(got);
    };
    socket.on("readable", look).once("end", cut).once("close", cut).once("error", cut);
    if (socket.destroyed) cut();
    else look();
  });
}
