import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ownRedisDirectory, ownToolsDirectory } from "../../../scripts/redis-path.mjs";

const root = join(import.meta.dirname, "../../..");
const dockerfile = readFileSync(join(root, "deploy/Dockerfile"), "utf8");

/** How an image of docker-compose.yml runs here. */
export interface Image {
  /** Its entry point, before the command. */
  readonly entry: readonly string[];
  readonly command: readonly string[];
  /** `UID:GID`. */
  readonly user: string;
  readonly health?: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Whether it is a node's image, with its own files; other images use this machine's programs. */
  readonly isNode: boolean;
}

const PATH = [ownRedisDirectory, ownToolsDirectory, "/usr/bin", "/usr/sbin", "/bin"].join(":");

/** The list of an instruction in the node's Dockerfile. */
function instruction(name: string): readonly string[] {
  const [, list] =
    new RegExp(`^${name} (?:.*\\\\\\n +CMD )?(\\[.*\\])$`, "m").exec(dockerfile) ?? [];
  if (list === undefined) throw new Error(`the Dockerfile has no ${name}`);
  return JSON.parse(list);
}

function program(user: string, entry: readonly string[]): Image {
  return { entry, command: [], user, environment: { PATH }, isNode: false };
}

/** Why a service is not started here. */
export const notHere: Readonly<Record<string, string>> = {
  "grafana/grafana": "no package of Debian's and none of npm's has Grafana",
};

const images: Readonly<Record<string, Image>> = {
  holdfast: {
    entry: instruction("ENTRYPOINT"),
    command: instruction("CMD"),
    user: "65532:65532",
    health: instruction("HEALTHCHECK"),
    environment: { PATH: "/usr/bin:/bin", NODE_ENV: "production" },
    isNode: true,
  },
  // The image's entry point would drop root; deploy/redis/start.sh does not use it.
  redis: program("0:0", []),
  haproxy: program("99:99", ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]),
  "prom/prometheus": program("65534:65534", ["prometheus"]),
  "prom/alertmanager": program("65534:65534", ["prometheus-alertmanager"]),
};

/** The image with this name and tag. */
export function imageOf(reference: string): Image {
  const name = reference.split(":")[0] as string;
  const image = images[name];
  if (image === undefined) throw new Error(`no image ${name}: ${notHere[name] ?? "it is new"}`);
  return image;
}
