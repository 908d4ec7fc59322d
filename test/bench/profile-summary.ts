/** The parts of the output of `node --cpu-prof` that are read here. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** In microseconds, like all times here. */
  readonly timeDeltas: readonly number[];
}

type Frame = CpuProfile["nodes"][number]["callFrame"];

const functionsMax = 40;

/**
 * Sums up the time that was not idle in the last part of a profile: by package and folder of the server, each with the
 * Node code and native code that it called, and by function, each with its own time only.
 */
export function summarise(profile: CpuProfile, lastUs: number): string[] {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const owners = ownersOf(profile);
  const byOwner = new Map<string, number>();
  const byFunction = new Map<string, number>();
  let total = 0;
  let leftUs = profile.timeDeltas.reduce((sum, us) => sum + us, 0);
  for (const [at, sample] of profile.samples.entries()) {
    const frame = frames.get(sample);
    const us = profile.timeDeltas[at] ?? 0;
    leftUs -= us;
    if (frame === undefined || frame.functionName === "(idle)" || leftUs > lastUs) continue;
    total += us;
    add(byOwner, owners.get(sample) ?? "", us);
    add(byFunction, nameOf(frame), us);
  }
  const lines = (times: ReadonlyMap<string, number>) =>
    [...times]
      .sort(([, a], [, b]) => b - a)
      .slice(0, functionsMax)
      .map(([name, us]) => `${((us / total) * 100).toFixed(1).padStart(6)} %  ${name}`);
  return ["by package:", ...lines(byOwner), "by function:", ...lines(byFunction)];
}

/** The owner of each call: the nearest package above it in the stack. */
function ownersOf({ nodes }: CpuProfile): Map<number, string> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const owners = new Map<number, string>();
  const visit = (id: number, inherited: string): void => {
    const node = byId.get(id);
    if (node === undefined) return;
    const owner = packageOf(node.callFrame) ?? inherited;
    owners.set(id, owner);
    for (const child of node.children ?? []) visit(child, owner);
  };
  const [root] = nodes;
  if (root !== undefined) visit(root.id, "Node itself");
  return owners;
}

function packageOf({ url, functionName }: Frame): string | undefined {
  if (functionName === "(garbage collector)" || functionName === "(program)") return functionName;
  const dependency = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (dependency !== undefined) return dependency;
  const own = /\/packages\/(?:server\/src\/)?[^/]+(?=\/)/.exec(url)?.[0];
  return own?.slice(1).replace("/src", "");
}

function nameOf({ functionName, url, lineNumber }: Frame): string {
  const name = functionName === "" ? "(anonymous)" : functionName;
  return url === "" ? `${name} (native)` : `${name} ${url.split("/").at(-1)}:${lineNumber + 1}`;
}

function add(times: Map<string, number>, name: string, us: number): void {
  times.set(name, (times.get(name) ?? 0) + us);
}
