import type { KeyRing } from "@holdfast/engine";
import { fingerprintOf } from "../../base/certificates.ts";
import type { PeerIdentity } from "../../base/peer-tls.ts";
import type { ServerIdentity } from "../../base/tls.ts";
import { version } from "../../base/version.ts";
import { rolesGiven } from "../../config/oidc-roles.ts";
import type { KmipEndpoint } from "../../kmip/kmip-endpoint.ts";
import { InstanceAuthorities } from "../../management/authority/instance-authorities.ts";
import { Adding } from "../../management/certificates/adding.ts";
import { certificateHandlers } from "../../management/certificates/certificate-handlers.ts";
import { ExpiryDuty } from "../../management/certificates/expiry-duty.ts";
import { Ownership } from "../../management/certificates/ownership.ts";
import {
  ServerCertificates,
  serverCertificateHandlers,
} from "../../management/certificates/server-certificates.ts";
import { denialHandlers } from "../../management/denials/denial-handlers.ts";
import {
  PeerDirectory,
  type PeerNode,
  peerHandlers,
} from "../../management/denials/peer-directory.ts";
import { InstanceLookup } from "../../management/instance-lookup.ts";
import { RefusedDirectory } from "../../management/refused/refused-directory.ts";
import { refusedHandlers } from "../../management/refused/refused-handlers.ts";
import type { TokenVerifier } from "../../management/tokens/bearer.ts";
import { Bootstrap } from "../../management/tokens/bootstrap.ts";
import { TokenBook } from "../../management/tokens/token-book.ts";
import { tokenHandlers } from "../../management/tokens/token-handlers.ts";
import { userHandlers } from "../../management/users/user-handlers.ts";
import type { CertificateFiles } from "../certificate-files.ts";
import { clock, ids, type Parts } from "../node-parts.ts";
import type { Control, Regions } from "../node-regions.ts";
import type { Tenants } from "../node-tenants.ts";
import type { Management } from "./node-management.ts";

/** Access to the endpoint and to the management API: the routes that change it, and what checks tokens. */
export interface Access {
  readonly handlers: ReturnType<typeof certificateHandlers> &
    ReturnType<typeof refusedHandlers> &
    ReturnType<typeof denialHandlers> &
    ReturnType<typeof peerHandlers> &
    ReturnType<typeof serverCertificateHandlers> &
    ReturnType<typeof userHandlers> &
    ReturnType<typeof tokenHandlers>;
  readonly instances: InstanceLookup;
  readonly tokens: TokenVerifier;
  /** See `Trust.scryptUsers`. */
  readonly scryptUsers: () => Promise<readonly string[]>;
}

/** The leader's duty to report certificates that end. */
export function expiryDuty(
  { config: { region }, observe }: Parts,
  { view, records, commands }: Management,
): ExpiryDuty {
  const others = () => commands.others;
  return new ExpiryDuty({ region, others, view, records, clock, requestId: ids.uuid, observe });
}

/** How often a node notes which peer certificates it sees. */
const peersEveryMs = 1_000;

/** Opens the management of certificates, users and tokens. */
export function openAccess(
  { config, observe, log, opened }: Parts,
  { view, records, presence }: Management,
  { own, peers, peerServer }: Pick<Regions, "own" | "peers"> & Pick<Control, "peerServer">,
  keyRing: KeyRing,
  tenants: Tenants,
  endpoint: KmipEndpoint,
  files: {
    readonly kmip: CertificateFiles<ServerIdentity>;
    readonly peer: CertificateFiles<PeerIdentity> | undefined;
  },
): Access {
  const { region, node } = config;
  const { wallMs } = clock;
  const declared = () => tenants.instances;
  const instances = new InstanceLookup({ view, declared });
  const ownership = new Ownership({ view, declared });
  const adding = new Adding({ instances, records, ownership, view, clock });
  const authorities = new InstanceAuthorities({ instances, records, keyRing, clock, ids });
  const { refused } = endpoint;
  const directory = opened.use(
    new RefusedDirectory({ region, node, refused, view, records, clock, observe }),
  );
  const leaves = () => files.kmip.identity.leaves;
  const link = {
    own: () => files.peer && fingerprintOf(files.peer.identity.leaf),
    peers: () => peers.map((peer) => ({ region: peer.region, shown: peer.shown() })),
  };
  const peersSeen = openPeerDirectory(config, opened, files, tenants, () => [
    ...peers.flatMap((peer) => peer.shown().map((shown) => ({ region: peer.region, ...shown }))),
    ...(peerServer?.nodes() ?? []),
  ]);
  const servers = opened.use(
    new ServerCertificates({ region, node, leaves, view, records, clock, observe }),
  );
  const book = new TokenBook({ view, clock });
  const bootstrap = opened.use(
    new Bootstrap({
      file: config.admin?.bootstrapFile,
      served: config.admin !== undefined,
      elsewhere: config.admin?.oidc === undefined ? [] : rolesGiven(config.admin.oidc),
      book,
      randomBytes: ids.randomBytes,
      observe,
      say: (message, fields) => log.say("info", message, fields),
    }),
  );
  const about = { region, node, version };
  return {
    instances,
    tokens: bootstrap,
    scryptUsers: () => tenants.trust.scryptUsers(),
    handlers: {
      ...certificateHandlers({
        region,
        node,
        instances,
        records,
        presence,
        adding,
        authorities,
        wallMs,
        refused: directory,
        lastConnections: endpoint.lastConnections,
      }),
      ...refusedHandlers(directory),
      ...denialHandlers({
        ...{ view, records, presence, own, region, declared, leaves, link, wallMs },
        peerOf: (fingerprint) => peersSeen.nameOf(fingerprint),
        servers: () => servers.list(),
      }),
      ...peerHandlers(peersSeen),
      ...serverCertificateHandlers(servers),
      ...userHandlers({ instances, records, keyRing, wallMs }),
      ...tokenHandlers({ book, bootstrap, instances, records, presence, clock, ids, about }),
    },
  };
}

/** Remembers the peer certificates that this node sees. */
function openPeerDirectory(
  { region, node }: Parts["config"],
  opened: Parts["opened"],
  { peer }: { readonly peer: CertificateFiles<PeerIdentity> | undefined },
  { trust }: Tenants,
  connected: () => readonly PeerNode[],
): PeerDirectory {
  const own = (): PeerNode | undefined => {
    const leaf = peer?.identity.leaf;
    if (leaf === undefined) return undefined;
    const fingerprint = fingerprintOf(leaf);
    return { region, node, fingerprint, endsMs: leaf.validToDate.getTime() };
  };
  const denies = (fingerprint: string) => trust.denies(fingerprint);
  const directory = new PeerDirectory({ own, connected, denies });
  opened.adopt(
    setInterval(() => directory.look(), peersEveryMs),
    clearInterval,
  );
  return directory;
}
