import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parse } from "yaml";

/** A folder or file of the host, or a named volume, and its path in the container. */
interface Mount {
  readonly kind: "bind" | "volume";
  readonly from: string;
  readonly to: string;
  readonly readOnly: boolean;
}

/** A service of docker-compose.yml with every variable filled in. */
export interface Service {
  readonly name: string;
  readonly image: string;
  /** The image's own unless given. */
  readonly command: readonly string[] | undefined;
  readonly environment: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  /** Paths that are writable, and empty at each start. */
  readonly temporary: readonly string[];
  /** Its address in each network. */
  readonly networks: Readonly<Record<string, string>>;
  /** The service whose network it uses; itself unless given. */
  readonly networkOf: string;
  readonly ports: readonly { readonly host: string; readonly port: number; readonly to: number }[];
  /** `UID:GID`; the image's own unless given. */
  readonly user: string | undefined;
  readonly readOnly: boolean;
  readonly capabilities: boolean;
  readonly restarts: boolean;
  /** A shell command that checks whether it is healthy. */
  readonly health: string | undefined;
  /** The services that must be healthy, or only started, before it starts. */
  readonly dependsOn: Readonly<Record<string, "service_healthy" | "service_started">>;
  readonly profiles: readonly string[];
}

/** docker-compose.yml in the form in which Compose reads it. */
export interface ComposeFile {
  readonly services: ReadonlyMap<string, Service>;
  /** The subnet of each network, such as 10.1.2.0/24. */
  readonly networks: ReadonlyMap<string, string>;
}

interface RawService {
  readonly image: string;
  readonly pull_policy?: "never";
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly volumes?: readonly string[];
  readonly secrets?: readonly (string | { readonly source: string; readonly target: string })[];
  readonly tmpfs?: readonly string[];
  readonly networks?: Readonly<Record<string, { readonly ipv4_address: string }>>;
  readonly network_mode?: string;
  readonly ports?: readonly string[];
  readonly user?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly ["ALL"];
  readonly security_opt?: readonly ["no-new-privileges:true"];
  readonly ulimits?: { readonly core: 0 };
  /** Equal: the process may not use swap. */
  readonly mem_limit?: string;
  readonly memswap_limit?: string;
  readonly restart?: "no" | "unless-stopped";
  readonly stop_grace_period?: string;
  readonly healthcheck?: { readonly test?: readonly [string, string]; readonly disable?: true };
  readonly depends_on?: readonly string[] | Readonly<Record<string, { readonly condition: never }>>;
  readonly profiles?: readonly string[];
}

interface RawFile {
  readonly name: string;
  readonly services: Readonly<Record<string, RawService>>;
  readonly networks: Readonly<
    Record<string, { readonly ipam: { readonly config: readonly [{ readonly subnet: string }] } }>
  >;
  readonly volumes: Readonly<Record<string, null>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

/** The known keys of a service. Other keys are refused, since they would be ignored here. */
const known: ReadonlySet<string> = new Set<keyof RawService>([
  ...(["image", "pull_policy", "command", "environment", "volumes", "secrets"] as const),
  ...(["tmpfs", "networks", "network_mode", "ports", "user", "read_only", "cap_drop"] as const),
  ...(["security_opt", "ulimits", "restart", "stop_grace_period", "healthcheck"] as const),
  ...(["depends_on", "profiles", "mem_limit", "memswap_limit"] as const),
]);

/** Reads the file with these variables in the environment. */
export function readCompose(
  path: string,
  variables: Readonly<Record<string, string>>,
): ComposeFile {
  const raw = filled(parse(readFileSync(path, "utf8"), { merge: true }), variables) as RawFile;
  const folder = dirname(path);
  const services = Object.entries(raw.services).map(
    ([name, service]) => [name, read(name, service, raw, folder)] as const,
  );
  const networks = Object.entries(raw.networks).map(
    ([name, { ipam }]) => [name, ipam.config[0].subnet] as const,
  );
  return { services: new Map(services), networks: new Map(networks) };
}

/** Fills in the variables of every text: `${NAME:-default}`; `$$` is a dollar sign. */
function filled(value: unknown, variables: Readonly<Record<string, string>>): unknown {
  if (typeof value === "string") {
    return value.replace(/\$\$|\$\{(\w+):-([^}]*)\}/g, (all, name: string, usual: string) =>
      all === "$$" ? "$" : variables[name] || usual,
    );
  }
  if (Array.isArray(value)) return value.map((one) => filled(one, variables));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, filled(one, variables)]),
  );
}

function read(name: string, raw: RawService, file: RawFile, folder: string): Service {
  const unknown = Object.keys(raw).filter((key) => !known.has(key));
  if (unknown.length > 0) throw new Error(`${name}: ${unknown.join(", ")} has no meaning here`);
  if (raw.mem_limit !== raw.memswap_limit) throw new Error(`${name}: it may use swap`);
  const { network_mode: mode = `service:${name}`, depends_on: needs = [] } = raw;
  const conditions = Array.isArray(needs)
    ? needs.map((one) => [one, "service_started"])
    : Object.entries(needs).map(([one, { condition }]) => [one, condition]);
  return {
    name,
    image: raw.image,
    command: raw.command,
    environment: Object.fromEntries(
      Object.entries(raw.environment ?? {}).map(([key, value]) => [key, String(value)]),
    ),
    mounts: [...volumesOf(raw, file, folder), ...secretsOf(raw, file, folder)],
    temporary: (raw.tmpfs ?? []).map((one) => one.split(":")[0] as string),
    networks: Object.fromEntries(
      Object.entries(raw.networks ?? {}).map(([key, { ipv4_address }]) => [key, ipv4_address]),
    ),
    networkOf: mode.replace(/^service:/, ""),
    ports: (raw.ports ?? []).map(portOf),
    user: raw.user,
    readOnly: raw.read_only ?? false,
    capabilities: raw.cap_drop === undefined,
    restarts: raw.restart === "unless-stopped",
    health: raw.healthcheck?.test?.[1],
    dependsOn: Object.fromEntries(conditions),
    profiles: raw.profiles ?? [],
  };
}

function volumesOf({ volumes = [] }: RawService, file: RawFile, folder: string): readonly Mount[] {
  return volumes.map((text) => {
    const [from = "", to = "", mode] = text.split(":");
    const isPath = from.startsWith(".") || from.startsWith("/");
    if (!isPath && !(from in file.volumes)) throw new Error(`no volume ${from}`);
    return {
      kind: isPath ? "bind" : "volume",
      from: isPath ? resolve(folder, from) : from,
      to,
      readOnly: mode === "ro",
    };
  });
}

function secretsOf({ secrets = [] }: RawService, file: RawFile, folder: string): readonly Mount[] {
  return secrets.map((secret) => {
    const { source, target } =
      typeof secret === "string" ? { source: secret, target: secret } : secret;
    const from = file.secrets[source]?.file;
    if (from === undefined) throw new Error(`no secret ${source}`);
    const to = join("/run/secrets", target);
    return { kind: "bind", from: resolve(folder, from), to, readOnly: true };
  });
}

function portOf(text: string): Service["ports"][number] {
  const [, host = "", port, to] = /^(.+):(\d+):(\d+)$/.exec(text) ?? [];
  return { host, port: Number(port), to: Number(to) };
}
