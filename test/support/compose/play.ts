import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type MadeKey, playVcenter } from "@holdfast/workbench";

/** What to play: the endpoints, and the credentials. */
export interface PlayOrder {
  /** `host:port` of each region, as in vCenter's list. */
  readonly endpoints: Readonly<Record<string, string>>;
  /** The folder of ca.pem, client.pem and client.key. */
  readonly secrets: string;
  /** A key that must still exist. */
  readonly earlier?: MadeKey;
}

/** The steps of the sequence with their results, in order, and the key that it made. */
export interface PlayAnswer {
  readonly made: MadeKey;
  readonly steps: readonly string[];
}

const { endpoints, secrets, earlier }: PlayOrder = JSON.parse(process.argv[2] ?? "");
const read = (name: string) => readFileSync(join(secrets, name), "utf8");
const steps: string[] = [];
const made = await playVcenter({
  nodes: Object.entries(endpoints).map(([region, endpoint]) => ({
    name: `haproxy-${region}`,
    region,
    endpoint,
  })),
  tls: { ca: read("ca.pem"), certificate: read("client.pem"), key: read("client.key") },
  ...(earlier !== undefined && { earlier }),
  report: ({ step, node, result }) => steps.push(`${step} at ${node}: ${result}`),
  answered: () => undefined,
});
process.stdout.write(JSON.stringify({ made, steps } satisfies PlayAnswer));
