import type { ObjectStore, OwnStore } from "@holdfast/engine";
import {
  agreedCommit,
  type Peer,
  type PeerStore,
  type RegionalParts,
  serving,
} from "@holdfast/regions";
import { Violation } from "../checker.ts";
import type { RedisGroup } from "../store/redis-group.ts";
import { AgreementRules } from "./agreement-rules.ts";
import { FullRules } from "./full-rules.ts";
import { givenEars } from "./given-rules.ts";
import { LevelRules } from "./level-rules.ts";
import { operationEars } from "./operation-rules.ts";
import { joinedEars, overheard } from "./overheard.ts";
import { ReadRules } from "./read-rules.ts";
import { ServiceRules } from "./service-rules.ts";
import { type Broken, ServingRules } from "./serving-rules.ts";

/** The rules that hold in every step of one process. */
export class NodeRules {
  readonly #broken: Broken;
  readonly #serving: ServingRules;
  readonly #levels: LevelRules;
  readonly #full: FullRules;
  readonly #reads: ReadRules;
  readonly #service: ServiceRules;

  constructor(
    {
      node,
      region,
      own,
      isSplit,
    }: {
      readonly node: string;
      readonly region: string;
      readonly own: OwnStore;
      /** Whether nodes of one region use two stores, by mistake. */
      readonly isSplit: () => boolean;
    },
    failed: (error: Violation) => void,
  ) {
    const broken = (what: string): void => failed(new Violation(`${node} ${what}`));
    this.#broken = broken;
    this.#serving = new ServingRules(broken);
    this.#levels = new LevelRules(this.#serving, broken);
    this.#full = new FullRules(region, broken);
    this.#reads = new ReadRules(own, this.#serving, broken, isSplit);
    this.#service = new ServiceRules(own, broken);
  }

  /** The own store as it is used for the node's clients. */
  own(own: OwnStore): OwnStore {
    const { ears } = this.#levels;
    return overheard(
      own,
      joinedEars(ears, this.#full.own, this.#reads.own, givenEars(this.#broken)),
    );
  }

  /** The own store as it is used for the other region, and its Redis; `careful` if that asks with the care of the product. */
  ownForOthers(own: OwnStore, group: RedisGroup, careful: boolean): OwnStore {
    const ears = careful ? operationEars(group, this.#broken) : {};
    return overheard(own, joinedEars(this.#full.own, ears));
  }

  peer(peer: Peer): Peer {
    return overheard(peer, this.#reads.peer);
  }

  client(store: ObjectStore): ObjectStore {
    return overheard(store, joinedEars(this.#full.client, this.#reads.client));
  }

  service(service: PeerStore, group: RedisGroup): PeerStore {
    return overheard(service, joinedEars(this.#full.service, this.#service.ears(group)));
  }

  parts({ decide = serving, agree = agreedCommit, ...rest }: Partial<RegionalParts>) {
    return { ...rest, decide: this.#serving.watched(decide), agree: this.#agreeing(agree) };
  }

  /** Call it four times a second in the process. */
  look(): void {
    this.#levels.look();
  }

  #agreeing(agree: typeof agreedCommit): typeof agreedCommit {
    return (sites, ...rest) => {
      const rules = new AgreementRules(this.#broken);
      const outcome = agree(rules.watched(sites), ...rest);
      const over = (): void => rules.over();
      outcome.then(over, over);
      return outcome;
    };
  }
}
