import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { until } from "@holdfast/testing";
import { isRunning, kill, type Ran, ranOf, spawnBound } from "../child.ts";
import type { ComposeFile } from "./compose-file.ts";

/**
 * A separate host for the containers of a compose file: a network namespace with a bridge for each network, and in it
 * one namespace for each service, with the addresses of the file. It is not visible outside, and leaves nothing behind.
 */
export class ComposeHost implements AsyncDisposable {
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  static async start(file: ComposeFile): Promise<ComposeHost> {
    const script = `${layout(file).join("\n")}\necho ready\nexec sleep infinity\n`;
    const args = ["--net", "--mount", "sh", "-ec", script];
    const holder = spawnBound("unshare", args, { stdio: ["ignore", "pipe", "pipe"] });
    const said = { out: "", err: "" };
    holder.stdout?.setEncoding("utf8").on("data", (more: string) => {
      said.out += more;
    });
    holder.stderr?.setEncoding("utf8").on("data", (more: string) => {
      said.err += more;
    });
    await until("the networks", () => {
      if (!isRunning(holder)) throw new Error(`the networks cannot be made: ${said.err}`);
      return said.out.includes("ready");
    });
    return new ComposeHost(holder);
  }

  /** Starts a program in the network of a service, or of the host. */
  spawn(
    where: string | undefined,
    command: readonly string[],
    stdio: ("ignore" | "pipe" | "ipc")[],
  ): ChildProcess {
    const { pid } = this.#holder;
    const own = join("/proc", String(pid));
    const net = join(
      own,
      ...(where === undefined ? ["ns", "net"] : ["root", "run", "netns", where]),
    );
    return spawnBound("nsenter", [`--net=${net}`, ...command], { stdio });
  }

  /** Runs a program there and waits for its end. */
  run(where: string | undefined, command: readonly string[]): Promise<Ran> {
    return ranOf(this.spawn(where, command, ["ignore", "pipe", "pipe"]));
  }

  /** The body of a URL as text; undefined without a successful answer. */
  async fetch(where: string | undefined, url: string): Promise<string | undefined> {
    const program = `fetch(${JSON.stringify(url)}).then(async (answer) => { process.stdout.write(await answer.text()); process.exit(answer.ok ? 0 : 1); }, () => process.exit(2))`;
    const { code, out } = await this.run(where, [process.execPath, "-e", program]);
    return code === 0 ? out : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await kill(this.#holder);
  }
}

/** The commands that make the networks. */
function layout({ networks, services }: ComposeFile): readonly string[] {
  const bridges = [...networks].flatMap(([name, subnet]) => [
    `ip link add ${name} type bridge`,
    `ip addr add ${subnet.replace(/\.0\//, ".1/")} dev ${name}`,
    `ip link set ${name} up`,
  ]);
  let links = 0;
  const namespaces = [...services.values()]
    .filter(({ name, networkOf }) => name === networkOf)
    .flatMap(({ name, networks: addresses }) => [
      `ip netns add ${name}`,
      `ip -n ${name} link set lo up`,
      ...Object.entries(addresses).flatMap(([network, address], at) => {
        const [, bits] = networks.get(network)?.split("/") ?? [];
        links += 1;
        return [
          `ip link add v${links} type veth peer name eth${at} netns ${name}`,
          `ip link set v${links} master ${network} up`,
          `ip -n ${name} addr add ${address}/${bits} dev eth${at}`,
          `ip -n ${name} link set eth${at} up`,
        ];
      }),
    ]);
  return [
    ...["mount -t tmpfs none /run", "mkdir /run/netns", "ip link set lo up"],
    ...bridges,
    ...namespaces,
  ];
}
