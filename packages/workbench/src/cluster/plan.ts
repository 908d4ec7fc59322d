import type { Address } from "@holdfast/server/base";
import { OperatorError } from "@holdfast/server/base";
import { type DashboardPlan, dashboardPlan } from "../dashboards/dashboard-plan.ts";

/** A node of the development cluster. */
export interface DevNode {
  readonly region: string;
  readonly name: string;
  readonly kmip: Address;
  readonly http: Address;
  readonly health: Address;
  /** Where the node listens for the other region's nodes. */
  readonly peer: Address;
  /** Where the other region's nodes connect: the line's end, which forwards to `peer`. */
  readonly line: Address;
  /**
   * The management API and the web console. All nodes have it at the first node's host, at ports of their own: to a
   * browser they are then one site, and one session counts at each.
   */
  readonly admin: Address;
}

/** A region of the development cluster. */
export interface DevRegion {
  readonly name: string;
  readonly nodes: readonly DevNode[];
}

/** What a cluster consists of. */
export interface Plan {
  readonly regions: readonly DevRegion[];
  /** Delay of the line between the regions, each way. */
  readonly wanMs: number;
  /** Prometheus and the page of the dashboards, if requested. */
  readonly dashboards?: DashboardPlan;
}

export interface PlanOptions {
  readonly regions: number;
  /** Number of nodes in each region. */
  readonly nodes: number;
  readonly port: number;
  readonly wan: number;
  /** Addresses of all nodes, the first region's first; by default separate loopback addresses. */
  readonly addresses?: readonly string[];
  /** Port of the dashboards' page, or `true` for the default one. */
  readonly dashboards?: number | true;
}

/** The port where vCenter expects KMIP. */
const kmipPort = 5696;

/** Default port of the dashboards' page; Prometheus has the next one. */
const dashboardsPort = 9470;

const usualPorts = {
  kmip: kmipPort,
  http: 9464,
  health: 9465,
  peer: 9443,
  line: 9444,
  admin: 8443,
};

/** Regions and nodes with their names and addresses; throws an `OperatorError` if the options do not fit together. */
export function planOf(options: PlanOptions): Plan {
  const { regions, addresses, wan, dashboards } = options;
  const nodes = addresses === undefined ? options.nodes : addresses.length / regions;
  if (
    !Number.isInteger(nodes) ||
    nodes < 1 ||
    new Set(addresses).size !== (addresses?.length ?? 0)
  ) {
    throw new OperatorError(
      `--addresses: give the same number for each of the ${regions} regions, all different, such as 127.0.1.1,127.0.1.2,127.0.2.1,127.0.2.2`,
    );
  }
  const ports = portsFrom(options.port);
  const hostAt = (at: number, region: number) =>
    addresses?.[region * nodes + at] ?? `127.0.${region + 1}.${at + 1}`;
  return {
    wanMs: wan,
    ...(dashboards === undefined
      ? {}
      : { dashboards: dashboardPlan(dashboards === true ? dashboardsPort : dashboards) }),
    regions: Array.from({ length: regions }, (_, region) => {
      const name = String.fromCharCode("a".charCodeAt(0) + region);
      return {
        name,
        nodes: Array.from({ length: nodes }, (__, at) => {
          const host = hostAt(at, region);
          const address = (port: number): Address => ({ host, port });
          return {
            region: name,
            name: `${name}${at + 1}`,
            kmip: address(ports.kmip),
            http: address(ports.http),
            health: address(ports.health),
            peer: address(ports.peer),
            line: address(ports.line),
            admin: { host: hostAt(0, 0), port: ports.admin + region * nodes + at },
          };
        }),
      };
    }),
  };
}

/** All nodes, alternating between the regions, in the order for vCenter's list. */
export function nodesInTurn({ regions }: Plan): readonly DevNode[] {
  const most = Math.max(...regions.map(({ nodes }) => nodes.length));
  return Array.from({ length: most }, (_, at) =>
    regions.flatMap(({ nodes }) => nodes[at] ?? []),
  ).flat();
}

function portsFrom(port: number): typeof usualPorts {
  if (port === kmipPort) return usualPorts;
  const [kmip, http, health, peer, line, admin] = [0, 1, 2, 3, 4, 5].map((at) => port + at) as [
    ...[number, number, number, number, number, number],
  ];
  return { kmip, http, health, peer, line, admin };
}
