import { spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseConfig } from "@holdfast/server";
import { until } from "@holdfast/testing";
import { planOf } from "@holdfast/workbench";
import { describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { spawnBound } from "../support/child.ts";

const root = join(import.meta.dirname, "../..");
const [usual] = planOf({ regions: 1, nodes: 1, port: 5696, wan: 0 }).regions[0]?.nodes ?? [];
const ports = {
  kmip: usual?.kmip.port,
  admin: usual?.admin.port,
  peer: usual?.peer.port,
  http: usual?.http.port,
  health: usual?.health.port,
};

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

function runs(program: string, ...args: readonly string[]) {
  const { error, status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  return { there: error === undefined, status, stdout, stderr };
}

describe("deploy/haproxy", () => {
  const lines = read("deploy/haproxy/haproxy.cfg")
    .split("\n")
    .map((line) => line.trim());

  test("asks for gRPC health with a request that matches its comments", () => {
    const sent = lines
      .filter((line) => line.startsWith("tcp-check send-binary "))
      .map((line) => Buffer.from(line.split(" ")[2] ?? "", "hex"));
    const bytes = Buffer.concat(sent);
    const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    expect(bytes.subarray(0, preface.length).toString("latin1")).toBe(preface);
    const frames = framesOf(bytes.subarray(preface.length));
    // SETTINGS; HEADERS with END_HEADERS; DATA with END_STREAM (RFC 9113, 6).
    expect(frames.map(({ type, flags, stream }) => [type, flags, stream])).toEqual([
      [4, 0, 0],
      [1, 4, 1],
      [0, 1, 1],
    ]);
    // Indexed :method POST and :scheme http, then literals (RFC 7541, 6 and appendix A).
    expect([...(frames[1]?.payload.subarray(0, 2) ?? [])]).toEqual([0x83, 0x86]);
    const headers = frames[1]?.payload.toString("latin1") ?? "";
    for (const text of ["/grpc.health.v1.Health/Check", "application/grpc", "te\btrailers"]) {
      expect(headers).toContain(text);
    }
    // An uncompressed, empty message: HealthCheckRequest with service "".
    expect([...(frames[2]?.payload ?? [])]).toEqual([0, 0, 0, 0, 0]);
  });

  test("uses the ports on which a node listens", () => {
    const servers = lines.filter((line) => line.startsWith("server "));
    expect(servers).toHaveLength(2);
    for (const server of servers) {
      expect(server).toContain(`:${ports.kmip}}" check port "`);
      expect(server).toContain(`-${ports.health}}"`);
    }
  });
});

describe("deploy/envoy", () => {
  const config = parse(read("deploy/envoy/envoy.yaml"));
  const [cluster] = config.static_resources.clusters;

  test("uses the ports on which a node listens, and asks its gRPC health", () => {
    const [listener] = config.static_resources.listeners;
    expect(listener.address.socket_address.port_value).toBe(ports.kmip);
    expect(cluster.health_checks[0].grpc_health_check).toEqual({});
    const endpoints = cluster.load_assignment.endpoints[0].lb_endpoints.map(
      ({ endpoint }: { endpoint: { address: unknown; health_check_config: unknown } }) => endpoint,
    );
    expect(endpoints).toHaveLength(2);
    for (const { address, health_check_config: health } of endpoints) {
      expect(address.socket_address.port_value).toBe(ports.kmip);
      expect(health.port_value).toBe(ports.health);
    }
  });

  test("routes to a cluster that it defines, and keeps connections longer than a node does", () => {
    const proxy = config.static_resources.listeners[0].filter_chains[0].filters[0].typed_config;
    expect(proxy.cluster).toBe(cluster.name);
    expect(Number.parseInt(proxy.idle_timeout, 10)).toBeGreaterThan(900);
  });

  const file = join(root, "deploy/envoy/envoy.yaml");
  test.skipIf(!runs("envoy", "--version").there)("is accepted by envoy (needs envoy)", () => {
    expect(runs("envoy", "--mode", "validate", "-c", file)).toMatchObject({ status: 0 });
  });
});

describe("deploy/kubernetes", () => {
  const documents = ["namespace", "nodes", "services", "network-policy"].flatMap((name) =>
    parseAllDocuments(read(`deploy/kubernetes/base/${name}.yaml`)).map((one) => {
      expect(one.errors).toEqual([]);
      return one.toJS();
    }),
  );
  const find = (kind: string, name: string) =>
    documents.find((one) => one.kind === kind && one.metadata.name === name);
  const { spec } = find("StatefulSet", "node");
  const pod = spec.template.spec;
  const [container] = pod.containers;

  test.each(["a", "b"])(
    "has a valid configuration of region %s, and mounts all of its files",
    (region) => {
      const path = `deploy/kubernetes/region-${region}/holdfast.yaml`;
      const text = read(path).replaceAll("POD_NAME", "node-0").replaceAll("POD_IP", "10.1.2.3");
      const config = parseConfig(text, path);
      expect([config.region, config.peer?.region]).toEqual(
        region === "a" ? ["a", "b"] : ["b", "a"],
      );
      const { kmip, admin, http, health, peer } = config;
      const listens = [kmip, admin, http, health, peer].map((one) => one?.listen.port);
      expect(listens).toEqual([ports.kmip, ports.admin, ports.http, ports.health, ports.peer]);
      expect(config.rootOfTrust.type).not.toBe("local");
      const mounts: readonly string[] = container.volumeMounts.map(
        ({ mountPath }: { mountPath: string }) => mountPath,
      );
      const files = [...text.matchAll(/(\/(?:secrets|config)\/[\w./-]+)/g)].map(
        ([, file = ""]) => file,
      );
      expect(files.length).toBeGreaterThan(8);
      expect(files.filter((file) => !mounts.some((mount) => file.startsWith(`${mount}/`)))).toEqual(
        [],
      );
      const lasting = spec.volumeClaimTemplates.map(
        ({ metadata: { name } }: { metadata: { name: string } }) => name,
      );
      const volumes = [...pod.volumes.map(({ name }: { name: string }) => name), ...lasting];
      const memory = container.volumeMounts.find(
        ({ mountPath }: { mountPath: string }) =>
          mountPath === dirname(config.store.memoryFile ?? ""),
      );
      expect(lasting).toContain(memory?.name);
      for (const { name } of container.volumeMounts) expect(volumes).toContain(name);
    },
  );

  test("uses the ports and probes of a node", () => {
    const named = container.ports.map(
      ({ name, containerPort }: { name: string; containerPort: number }) => [name, containerPort],
    );
    expect(Object.fromEntries(named)).toEqual(ports);
    expect(container.readinessProbe.grpc).toEqual({ port: ports.health });
    expect(container.livenessProbe.httpGet).toEqual({ path: "/livez", port: "http" });
    // A node that starts while its key manager does not answer waits for it, for up to 45 s each time.
    const { periodSeconds, failureThreshold } = container.startupProbe;
    expect(periodSeconds * failureThreshold).toBeGreaterThanOrEqual(4 * 45);
    const services = documents.filter(({ kind }) => kind === "Service");
    expect(services.map(({ metadata }) => metadata.name)).toEqual([
      "kmip",
      "admin",
      "node",
      "peer-0",
      "peer-1",
    ]);
    for (const { spec } of services) {
      for (const { name, port, targetPort } of spec.ports) {
        expect([name, port]).toEqual([targetPort, ports[name as keyof typeof ports]]);
      }
    }
  });

  test("the first container fills in the pod's name and address and keeps secrets from others", () => {
    const [{ command, args, image }] = pod.initContainers;
    expect([command, image]).toEqual([["/usr/lib/holdfast/node", "-e"], container.image]);
    const folder = mkdtempSync(join(tmpdir(), "holdfast-pod-"));
    const [TEMPLATE, SECRETS, CONFIG] = ["template", "secrets", "config"].map((name) => {
      mkdirSync(join(folder, name));
      return join(folder, name);
    }) as [string, string, string];
    try {
      writeFileSync(join(TEMPLATE, "holdfast.yaml"), "node: POD_NAME\nkmip: POD_IP:5696\n");
      writeFileSync(join(SECRETS, "sealing.key"), "secret", { mode: 0o440 });
      // Kubernetes keeps the versions of a secret in folders with such names.
      mkdirSync(join(SECRETS, "..data"));
      const pod = { POD_NAME: "node-0", POD_IP: "10.1.2.3" };
      const { status, stderr } = spawnSync(process.execPath, ["-e", ...args], {
        env: { ...pod, TEMPLATE, SECRETS, CONFIG },
        encoding: "utf8",
      });
      expect([status, stderr]).toEqual([0, ""]);
      const text = readFileSync(join(CONFIG, "holdfast.yaml"), "utf8");
      expect(text).toBe("node: node-0\nkmip: 10.1.2.3:5696\n");
      expect(readdirSync(CONFIG).toSorted()).toEqual(["holdfast.yaml", "sealing.key"]);
      expect(statSync(join(CONFIG, "sealing.key")).mode & 0o777).toBe(0o600);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a node has the peer key of its own only, also after a renewal", async () => {
    const [, { command, args, image, restartPolicy, volumeMounts }] = pod.initContainers;
    expect([command, image]).toEqual([["/usr/lib/holdfast/node", "-e"], container.image]);
    expect(restartPolicy).toBe("Always");
    const holding = [...pod.initContainers, ...pod.containers].filter((one) =>
      one.volumeMounts.some(({ name }: { name: string }) => name === "peer-tls"),
    );
    expect(holding.map(({ name }) => name)).toEqual(["peer-files"]);
    expect(container.volumeMounts).toContainEqual({ ...volumeMounts[1], readOnly: true });
    const folder = mkdtempSync(join(tmpdir(), "holdfast-peer-files-"));
    const [ALL, OWN] = [join(folder, "all"), join(folder, "own")];
    mkdirSync(OWN);
    const write = (node: string, name: string, text: string) => {
      mkdirSync(join(ALL, node), { recursive: true });
      writeFileSync(join(ALL, node, name), text, { mode: 0o440 });
    };
    for (const node of ["node-0", "node-1"]) {
      for (const name of ["ca.crt", "tls.crt", "tls.key"]) write(node, name, `${name} of ${node}`);
    }
    const env = { POD_NAME: "node-1", ALL, OWN };
    const child = spawnBound(process.execPath, ["-e", ...args], { env, stdio: "ignore" });
    const ended = once(child, "exit");
    try {
      const key = join(OWN, "tls.key");
      await until("the key", () => existsSync(key));
      expect(readdirSync(OWN).toSorted()).toEqual(["ca.crt", "tls.crt", "tls.key"]);
      expect(readFileSync(key, "utf8")).toBe("tls.key of node-1");
      expect(statSync(key).mode & 0o777).toBe(0o600);
      write("new", "tls.key", "renewed");
      renameSync(join(ALL, "new", "tls.key"), join(ALL, "node-1", "tls.key"));
      await until("the renewed key", () => readFileSync(key, "utf8") === "renewed");
      child.kill("SIGTERM");
      expect(await ended).toEqual([0, null]);
    } finally {
      child.kill("SIGKILL");
      rmSync(folder, { recursive: true });
    }
  });

  test("gives a pod time to stop: preStop, drain and some reserve", () => {
    const { drainMs } = parseConfig(read("deploy/holdfast.example.yaml"), "example");
    const needed = container.lifecycle.preStop.sleep.seconds + drainMs / 1000;
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(needed + 5);
    expect(find("PodDisruptionBudget", "node").spec).toMatchObject({
      minAvailable: 1,
      unhealthyPodEvictionPolicy: "AlwaysAllow",
    });
  });

  test.skipIf(!runs("kubectl", "version", "--client").there)(
    "is built by kubectl kustomize (needs kubectl)",
    () => {
      for (const region of ["a", "b"]) {
        const built = runs(
          "kubectl",
          "kustomize",
          join(root, "deploy/kubernetes", `region-${region}`),
        );
        expect(built).toMatchObject({ status: 0, stderr: "" });
        expect(built.stdout).toContain(`A node of region ${region}`);
        const objects = parseAllDocuments(built.stdout).map((one) => one.toJS());
        const namesOf = (kind: string) =>
          objects.filter((one) => one.kind === kind).map((one) => one.spec.dnsNames?.[0]);
        expect(namesOf("Certificate")).toContain(`${region}.peer.holdfast`);
        const made = new Set(
          objects.flatMap((one) => (one.kind === "Certificate" ? [one.spec.secretName] : [])),
        );
        expect([...made].toSorted()).toEqual([
          "admin-tls",
          "kmip-tls",
          "peer-node-0",
          "peer-node-1",
        ]);
        const [monitor] = objects.filter(({ kind }) => kind === "ServiceMonitor");
        expect(monitor.spec.endpoints[0].relabelings).toContainEqual({
          targetLabel: "region",
          replacement: region,
        });
      }
    },
  );
});

interface Frame {
  readonly type: number | undefined;
  readonly flags: number | undefined;
  readonly stream: number;
  readonly payload: Buffer;
}

/** HTTP/2 frames (RFC 9113, 4.1). */
function framesOf(bytes: Buffer): readonly Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    const payload = bytes.subarray(at + 9, at + 9 + length);
    frames.push({
      type: bytes[at + 3],
      flags: bytes[at + 4],
      stream: bytes.readUInt32BE(at + 5),
      payload,
    });
    expect(payload.length).toBe(length);
    at += 9 + length;
  }
  return frames;
}
