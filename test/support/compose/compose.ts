import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "@holdfast/testing";
import type { MadeKey } from "@holdfast/workbench";
import { must } from "../../../scripts/build/archives.ts";
import { makeContext } from "../../../scripts/build/image.ts";
import { kill } from "../child.ts";
import { composeSecrets } from "../shipped-store.ts";
import { ComposeContainer, type ContainerPlace } from "./compose-container.ts";
import { type ComposeFile, readCompose, type Service } from "./compose-file.ts";
import { ComposeHost } from "./compose-host.ts";
import { notHere } from "./images.ts";
import type { PlayAnswer, PlayOrder } from "./play.ts";

const root = join(import.meta.dirname, "../../..");
const path = join(root, "docker-compose.yml");

/** The pause between two health checks of a container, in milliseconds. */
const healthPauseMs = 300;

type Variables = Readonly<Record<string, string>>;

/** Does what `docker compose` does, on a separate host with plain processes. */
export class Compose implements AsyncDisposable {
  readonly host: ComposeHost;
  /** The folder into which `npm run compose-secrets` put the secrets. */
  readonly secrets: string;
  readonly #place: ContainerPlace;
  readonly #containers = new Map<string, ComposeContainer>();
  readonly #stack: AsyncDisposableStack;
  #publisher: ChildProcess | undefined;

  private constructor(place: ContainerPlace, secrets: string, stack: AsyncDisposableStack) {
    this.#place = place;
    this.host = place.host;
    this.secrets = secrets;
    this.#stack = stack;
  }

  /** Makes the secrets, the image and the networks; starts no service. */
  static async prepare(): Promise<Compose> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "holdfast-compose-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const secrets = join(folder, "secrets");
    composeSecrets(secrets);
    const image = join(folder, "image");
    await makeContext(image);
    await must("tar", ["-xf", join(image, "base.tar"), "-C", image, "--exclude=./dev/*"]);
    const host = stack.use(await ComposeHost.start(readCompose(path, {})));
    const compose = new Compose({ host, folder, image }, secrets, stack.move());
    return compose;
  }

  /** Reads the file with the secrets' folder and these variables in the environment. */
  read(variables: Variables = {}): ComposeFile {
    return readCompose(path, { HOLDFAST_SECRETS: this.secrets, ...variables });
  }

  container(name: string): ComposeContainer {
    const found = this.#containers.get(name);
    if (found === undefined) throw new Error(`${name} was never started`);
    return found;
  }

  /** Names of the services that `up` starts. */
  get started(): readonly string[] {
    return [...this.#containers.values()].filter((one) => one.running).map(nameOf);
  }

  /** Another container in the network of a service, which may run too, with these changes. */
  changed(name: string, change: Partial<Service>): ComposeContainer {
    const service = {
      ...this.#service(name, {}),
      ...change,
      name: `${name}-apart`,
      restarts: false,
    };
    const container = new ComposeContainer(service, this.#place);
    this.#stack.defer(() => container.kill());
    return container;
  }

  /** Like `docker compose run --rm NAME`, dependencies included; returns output and exit code. */
  async run(name: string, variables: Variables): Promise<{ code: number | null; log: string }> {
    const service = this.#service(name, variables);
    await this.#meet(service, this.#beginner(variables));
    const container = this.changed(name, service);
    return { code: await container.finish(), log: container.log };
  }

  /** Like `docker compose up --wait`. */
  async up(variables: Variables = {}): Promise<void> {
    const { services } = this.read(variables);
    const names = [...services.values()]
      .filter(({ image, profiles }) => profiles.length === 0 && !isNotHere(image))
      .map(({ name }) => name);
    await Promise.all(names.map(this.#beginner(variables)));
    await this.#healthy(names);
    await this.#publish();
  }

  /** Plays vCenter's sequence as a client on the host. */
  async play(order: Omit<PlayOrder, "secrets">): Promise<PlayAnswer & { readonly made: MadeKey }> {
    const script = join(import.meta.dirname, "play.ts");
    const whole: PlayOrder = { ...order, secrets: this.secrets };
    const command = [process.execPath, script, JSON.stringify(whole)];
    const { code, out, err } = await this.host.run(undefined, command);
    if (code !== 0) throw new Error(`vCenter's sequence failed: ${out}${err}`);
    return JSON.parse(out);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await kill(this.#publisher);
    await Promise.all([...this.#containers.values()].map((one) => one.kill()));
    await this.#stack.disposeAsync();
  }

  #service(name: string, variables: Variables): Service {
    const service = this.read(variables).services.get(name);
    if (service === undefined) throw new Error(`no service ${name}`);
    return service;
  }

  /** A function that starts a service once, after its dependencies; new settings restart it. */
  #beginner(variables: Variables): (name: string) => Promise<void> {
    const under = new Map<string, Promise<void>>();
    const begin = (name: string): Promise<void> => {
      const known = under.get(name);
      if (known !== undefined) return known;
      const starting = this.#start(this.#service(name, variables), begin);
      under.set(name, starting);
      return starting;
    };
    return begin;
  }

  /** Starts a service's dependencies, and waits until they are as the file requires. */
  async #meet({ dependsOn }: Service, begin: (name: string) => Promise<void>): Promise<void> {
    await Promise.all(
      Object.entries(dependsOn).map(async ([name, condition]) => {
        await begin(name);
        if (condition === "service_healthy") await this.#healthy([name]);
      }),
    );
  }

  async #start(service: Service, begin: (name: string) => Promise<void>): Promise<void> {
    await this.#meet(service, begin);
    const there = this.#containers.get(service.name);
    if (there !== undefined) {
      const same = JSON.stringify(there.service) === JSON.stringify(service);
      if (same && there.running) return;
      await there.stop();
    }
    const container = new ComposeContainer(service, this.#place);
    this.#containers.set(service.name, container);
    container.start();
  }

  async #healthy(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const container = this.container(name);
      await until(`${name} is healthy`, async () => {
        if (await container.healthy()) return true;
        await sleep(healthPauseMs);
        return `${name}: ${container.log.slice(-2_000)}`;
      });
    }
  }

  /** Docker's own relay of published ports. */
  async #publish(): Promise<void> {
    const relays = [...this.#containers.values()].flatMap(({ service }) => {
      const [address] = Object.values(service.networks);
      return service.ports.map(({ host, port, to }) => [`${host}:${port}`, `${address}:${to}`]);
    });
    const script = join(import.meta.dirname, "publish.ts");
    const command = [process.execPath, script, ...relays.flat()];
    const publisher = this.host.spawn(undefined, command, ["ignore", "pipe", "ignore"]);
    this.#publisher = publisher;
    let said = "";
    publisher.stdout?.setEncoding("utf8").on("data", (more: string) => {
      said += more;
    });
    await until("the published ports", () => said.includes("ready"));
  }
}

function nameOf({ service }: ComposeContainer): string {
  return service.name;
}

function isNotHere(image: string): boolean {
  return (image.split(":")[0] as string) in notHere;
}
