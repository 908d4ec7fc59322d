import type { Handlers } from "@holdfast/admin";
import { type AuditLog, type ObjectStore, systemInstance } from "@holdfast/engine";
import { Authorizer } from "../../admin/access/authorizer.ts";
import { Buckets } from "../../admin/access/buckets.ts";
import { DenialAudit } from "../../admin/access/denial-audit.ts";
import { EventLimit } from "../../admin/access/event-limit.ts";
import { ViewedInstances } from "../../admin/access/instance-names.ts";
import { OidcTokens } from "../../admin/access/oidc.ts";
import { VcenterSessions } from "../../admin/access/vcenter-sessions.ts";
import { readConsole } from "../../admin/console/console-files.ts";
import type { ConsoleOptions } from "../../admin/console/console-routes.ts";
import { ConsoleSessions } from "../../admin/console/console-sessions.ts";
import { ProviderClient, readClientSecret } from "../../admin/console/provider-client.ts";
import { AdminListener } from "../../admin/http/listener.ts";
import { Idempotency } from "../../admin/idempotency.ts";
import type { ApiSettings } from "../../admin/key-protect-api/context.ts";
import { MadeBefore } from "../../admin/made-before.ts";
import type { SystemSources } from "../../admin/system/sources.ts";
import { systemHandlers } from "../../admin/system/system-handlers.ts";
import { withApprovals } from "../../approvals/guarded-handlers.ts";
import { Approvals } from "../../approvals/requests.ts";
import { withCallEvidence } from "../../audit/call-evidence.ts";
import { printAddress } from "../../base/address.ts";
import { providerVariable } from "../../base/fips.ts";
import { readAuthorities, type ServerIdentity } from "../../base/tls.ts";
import { policyHandlers } from "../../management/approvals/policy-handlers.ts";
import { requestHandlers } from "../../management/approvals/request-handlers.ts";
import { identifyBy } from "../../management/certificates/catalogue.ts";
import type { InstanceLookup } from "../../management/instance-lookup.ts";
import { authenticator, paced, type TokenVerifier } from "../../management/tokens/bearer.ts";
import type { NodeReadings } from "../../observe/metrics/metric-row.ts";
import type { PeerCommands } from "../../records/peer-commands.ts";
import type { Presence } from "../../records/presence.ts";
import type { Records } from "../../records/records.ts";
import type { SystemView } from "../../records/system-view.ts";
import type { CertificateFiles } from "../certificate-files.ts";
import { clock, ids, type Parts } from "../node-parts.ts";

export interface AdminParts {
  readonly files: CertificateFiles<ServerIdentity> | undefined;
  readonly view: SystemView;
  readonly records: Records;
  readonly presence: Presence;
  readonly commands: Pick<PeerCommands, "others">;
  readonly store: Pick<ObjectStore, "appendAudit">;
  readonly instances: InstanceLookup;
  readonly tokens: TokenVerifier;
  readonly own: SystemSources["own"] & { readonly audit: Pick<AuditLog, "tree"> };
  readonly peers: SystemSources["peers"];
  readonly clocks: SystemSources["clocks"];
  readonly stores: SystemSources["stores"];
  readonly readings: NodeReadings;
  readonly lockMasters: SystemSources["lockMasters"];
  readonly storageKeys: SystemSources["storageKeys"];
  readonly scryptUsers: SystemSources["scryptUsers"];
  /** All handlers but those about the node itself. */
  readonly handlers: Omit<
    Handlers,
    | keyof ReturnType<typeof systemHandlers>
    | keyof ReturnType<typeof requestHandlers>
    | keyof ReturnType<typeof policyHandlers>
  >;
}

/** How often unknown tokens and names may make the view read the store. */
const lookAgainMs = 50;
/** Requests that one address may make without a valid token, and requests that need no token. */
const failures = { perSecond: 1, burst: 20 };
const strangers = { perSecond: 5, burst: 20 };
/** Bodies of one token: two of the largest at once, then one in twenty seconds. */
const bodyBytes = { perSecond: 2 << 20, burst: 84 << 20 };

/** Opens the management API where the configuration has one. */
export async function openAdmin(
  parts: Parts,
  admin: AdminParts,
): Promise<AdminListener | undefined> {
  const { config, health, observe, opened } = parts;
  const settings = config.admin;
  const { files, view, tokens, instances: lookup } = admin;
  if (settings === undefined || files === undefined) return undefined;
  const approvals = openApprovals(parts, admin);
  const own = { ...admin.handlers, ...ownHandlers(parts, admin), ...approvals.handlers };
  const guards = { ...approvals, view, identify: identifyBy(lookup) };
  const handlers = withCallEvidence(withApprovals(own, guards), {
    store: admin.store,
    clock,
    observe,
    limit: new EventLimit(clock.monotonicMs).take,
  });
  const instances = new ViewedInstances(view);
  const oidc = openOidc(parts, instances);
  const append = (event: Parameters<ObjectStore["appendAudit"]>[1][number]) =>
    admin.store.appendAudit(systemInstance, [event], false);
  const perSecond = settings.requestsPerSecond;
  const { monotonicMs } = clock;
  const vcenters = openVcenters(parts, instances);
  // Each has its own pace: strangers, who have no valid token, must not slow down the look for instances.
  const pacedLook = () => paced(() => instances.lookAgain(), lookAgainMs, monotonicMs);
  const lookAgain = pacedLook();
  const { records } = admin;
  const sessions = new ConsoleSessions({ view, records, tokens, lookAgain, clock, ids });
  const authorizer = new Authorizer({
    authenticate: authenticator(sessions, oidc, lookAgain, vcenters),
    instances,
    lookAgain: pacedLook(),
    requests: new Buckets({ perSecond, burst: perSecond * 2 }, monotonicMs),
    failures: new Buckets(failures, monotonicMs),
    strangers: new Buckets(strangers, monotonicMs),
    bytes: new Buckets(bodyBytes, monotonicMs),
    denied: new DenialAudit({ append, observe, clock }).note,
  });
  const listener = await AdminListener.open({
    listen: settings.listen,
    identity: files.identity,
    authorizer,
    handlers,
    idempotency: new Idempotency(monotonicMs),
    madeBefore: new MadeBefore(view, handlers),
    connectionsMax: settings.connectionsMax,
    console: consoleOf(settings.console, observe, {
      sessions,
      vcenters,
      provider: openProvider(parts, oidc),
    }),
    keyProtectApi: keyProtectApiOf(settings, view),
    newId: ids.uuid,
    requestId: ids.uuid,
    monotonicMs,
    observe,
  });
  files.onChange((identity) => listener.setIdentity(identity));
  health.admin(true);
  opened.defer(() => {
    health.admin(false);
    return listener.close();
  });
  return listener;
}

/** The web console, where it is built and the configuration has it. */
function consoleOf(
  {
    serve,
    nodes,
    relyingParty,
    signInFolder,
    controlSocket,
  }: NonNullable<Parts["config"]["admin"]>["console"],
  observe: Parts["observe"],
  parts: Pick<ConsoleOptions, "sessions" | "vcenters" | "provider">,
): ConsoleOptions | undefined {
  if (serve === "off") return undefined;
  const files = readConsole();
  if (files === undefined) {
    const cause = "it is not built: `npm start` and `npm run build` do that";
    observe({ type: "warning", message: "this node has no web console", cause });
    return undefined;
  }
  return {
    files,
    nodes,
    relyingParty,
    signInFolder,
    controlSocket,
    ...parts,
    wallMs: clock.wallMs,
  };
}

/** IBM's API, where the configuration has it. */
function keyProtectApiOf(
  { keyProtectApi: given, listen }: NonNullable<Parts["config"]["admin"]>,
  view: SystemView,
): ApiSettings | undefined {
  if (given === undefined) return undefined;
  return {
    ...given,
    url: given.url ?? `https://${printAddress(listen)}`,
    // Deleted entries too: their clients made keys that are still there.
    creatorOf: (instance, fingerprint) => {
      const own = view.find("Certificate", fingerprint).filter((one) => one.instance === instance);
      const entry = own.find(({ destroyed }) => destroyed === undefined) ?? own[0];
      return entry && { id: entry.id, addedBy: entry.createdBy };
    },
    refresh: () => view.refresh().catch(() => undefined),
    wallMs: clock.wallMs,
  };
}

/** What makes, keeps and checks approvals. */
function openApprovals(
  { config: { region, node }, observe }: Parts,
  { view, records, presence, commands, peers, clocks }: AdminParts,
) {
  const policyMs = () => clocks.earliestMs();
  const around = { wallMs: clock.wallMs, policyMs, newId: ids.uuid, observe };
  const up = () => peers.filter((peer) => peer.state() === "up").map((peer) => peer.region);
  const reachable = () => commands.others.filter((other) => up().includes(other));
  const approvals = new Approvals({ view, records, region, node, reachable, ...around });
  const deps = { view, records, presence, approvals, node, ...around };
  return {
    approvals,
    handlers: { ...requestHandlers(deps), ...policyHandlers(deps) },
  };
}

function ownHandlers(
  { config, configFile, health }: Parts,
  { own, peers, clocks, stores, readings, lockMasters, storageKeys, view, scryptUsers }: AdminParts,
): ReturnType<typeof systemHandlers> {
  const healthLines = () => health.report().lines;
  const about = {
    config,
    configFile,
    healthLines,
    own,
    peers,
    clocks,
    stores,
    readings,
    lockMasters,
    storageKeys,
    view,
    scryptUsers,
    auditTree: own.audit.tree,
    fips: process.env[providerVariable],
  };
  return systemHandlers({ ...about, ...clock });
}

/** The sessions of vCenters, where the node has a console that the vSphere Client shows. */
function openVcenters(
  { config, observe }: Parts,
  instances: ViewedInstances,
): VcenterSessions | undefined {
  const settings = config.admin?.console;
  if (settings === undefined || settings.serve === "off") return undefined;
  if (settings.vcenters.length === 0) return undefined;
  const vcenters = settings.vcenters.map((row) => ({
    ...row,
    ca: row.ca === undefined ? undefined : readAuthorities(row.ca, "admin.console.vcenters.ca"),
  }));
  return new VcenterSessions({ vcenters, instances, monotonicMs: clock.monotonicMs, observe });
}

function openOidc({ config, observe }: Parts, instances: ViewedInstances): OidcTokens | undefined {
  const settings = config.admin?.oidc;
  if (settings === undefined) return undefined;
  const { wallMs, monotonicMs } = clock;
  const ca = providerCa(settings);
  return new OidcTokens({ settings, ca, instances, wallMs, monotonicMs, observe });
}

/** What signs people in to the console at the identity provider. */
function openProvider(
  { config: { admin }, observe }: Parts,
  oidc: OidcTokens | undefined,
): ProviderClient | undefined {
  const settings = admin?.console.signIn;
  if (settings === undefined || admin?.oidc === undefined || oidc === undefined) return undefined;
  return new ProviderClient({
    settings,
    clientSecret: readClientSecret(settings.clientSecretFile),
    oidc,
    ca: providerCa(admin.oidc),
    randomBytes: ids.randomBytes,
    monotonicMs: clock.monotonicMs,
    observe,
  });
}

function providerCa({ ca }: { readonly ca: string | undefined }): string | undefined {
  return ca === undefined ? undefined : readAuthorities(ca, "admin.oidc.ca");
}
