/** The faults of a simulation: what happens when, and how it is all healed at the end. */

import type { SimController } from './controller.js';
import type { SimEtcd } from './etcd.js';
import type { Network } from './network.js';
import type { SimNode } from './node.js';
import type { Scheduler, SeededRandom } from './scheduler.js';
import { frontendOn } from './workload.js';

export interface FaultyWorld {
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly etcd: SimEtcd;
  readonly nodes: readonly SimNode[];
  attach(node: SimNode): void;
  trace(who: string, what: string): void;
}

type Fault = (random: SeededRandom) => string | undefined;

export class Faults {
  readonly #world: FaultyWorld;
  readonly #controller: SimController;
  readonly #random: SeededRandom;
  readonly counts: Record<string, number> = {};
  readonly #kinds: Record<string, Fault>;
  #over = false;
  #aftershocks = 0;

  constructor(world: FaultyWorld, controller: SimController, random: SeededRandom) {
    this.#world = world;
    this.#controller = controller;
    this.#random = random;
    this.#kinds = {
      kill: () => this.#crash(this.#node(), false),
      power: () => this.#crash(this.#node(), true),
      killPrimary: () => this.#crash(this.#primary(), false),
      powerPrimary: () => this.#crash(this.#primary(), true),
      powerOfMost: () => this.#powerOfMost(),
      split: () => this.#split(),
      triangle: () => this.#triangle(),
      blackout: () => this.#blackout(),
      killAll: () => this.#killAll(),
      pause: () => this.#pause(),
      partition: () => this.#partition(false),
      oneWay: () => this.#partition(true),
      isolate: () => this.#isolate(),
      etcdDown: () => this.#etcdDown(),
      etcdTrouble: () => this.#etcdTrouble(),
      fullDisk: () => this.#fullDisk(),
      syncFailure: () => this.#syncFailure(),
      rot: () => this.#rot(),
      reattach: () => this.#reattach(),
      suspicion: () => this.#suspicion(),
      frontendCut: () => this.#frontendCut(),
    };
  }

  /** Each seed has its own mixture: some kinds often, some never. */
  begin(until: number): void {
    const { scheduler } = this.#world;
    const random = this.#random;
    const kinds = Object.keys(this.#kinds).filter(() => random.chance(0.55));
    if (kinds.length === 0) kinds.push('kill');
    this.#aftershocks = random.pick([0, 0.2, 0.5]);
    const pause = random.pick([80, 300, 1_000, 2_500]);
    const next = (): void => {
      scheduler.after(random.between(0.3, 1.7) * pause, () => {
        if (this.#over || scheduler.now > until) return;
        const kind = random.pick(kinds);
        const what = this.#kinds[kind]!(random);
        if (what !== undefined) {
          this.counts[kind] = (this.counts[kind] ?? 0) + 1;
          this.#world.trace('faults', what);
        }
        next();
      });
    };
    scheduler.after(random.between(200, 3_000), next);
  }

  /**
   * The record has changed: that is when the next blow hurts most.
   */
  onMembershipChange(): void {
    if (this.#over || !this.#random.chance(this.#aftershocks)) return;
    this.#later(0, this.#random.pick([5, 60, 400]), () => {
      const kinds = ['killPrimary', 'kill', 'split', 'triangle', 'isolate', 'etcdTrouble', 'pause', 'suspicion'];
      kinds.push('powerPrimary', 'power', 'power', 'powerOfMost');
      const kind = this.#random.pick(kinds);
      const what = this.#kinds[kind]!(this.#random);
      if (what === undefined) return;
      this.counts.aftershocks = (this.counts.aftershocks ?? 0) + 1;
      this.#world.trace('faults', `aftershock: ${what}`);
    });
  }

  heal(): void {
    this.#over = true;
    const { network, etcd, nodes } = this.#world;
    network.heal();
    etcd.down = false;
    etcd.trouble = 0;
    this.#controller.falseSuspicion = 0;
    for (const node of nodes) {
      node.disk.setFull(false);
      node.disk.failNextSync(false);
      node.resume();
      node.start();
    }
  }

  #later(minMs: number, maxMs: number, act: () => void): void {
    this.#world.scheduler.after(this.#random.between(minMs, maxMs), () => {
      if (!this.#over) act();
    });
  }

  #node(): SimNode {
    return this.#random.pick(this.#world.nodes);
  }

  #primary(): SimNode {
    const { etcd, nodes } = this.#world;
    return nodes.find((node) => node.placement.node === etcd.record?.primary.node) ?? this.#node();
  }

  #crash(node: SimNode, power: boolean): string | undefined {
    if (!node.up) return undefined;
    node.crash(power);
    this.#later(this.#random.chance(0.5) ? 20 : 500, this.#random.chance(0.5) ? 300 : 6_000, () => node.start());
    return power ? `power of ${node.name} is cut` : `kill -9 of ${node.name}`;
  }

  /** Two nodes lose power, the third one is killed or cut off, all within a moment and for different times. */
  #powerOfMost(): string {
    const { nodes, network } = this.#world;
    const spared = this.#node();
    for (const node of nodes) {
      if (node === spared) continue;
      this.#later(0, 400, () => {
        node.crash(true);
        this.#later(20, this.#random.chance(0.5) ? 200 : 4_000, () => node.start());
      });
    }
    this.#later(0, 400, () => {
      if (this.#random.chance(0.5)) {
        this.#crash(spared, false);
        return;
      }
      for (const other of [...nodes.map((node) => node.name), 'controller']) {
        network.block(spared.name, other);
        network.block(other, spared.name);
      }
      this.#later(300, 5_000, () => network.heal());
    });
    return `power of all but ${spared.name} is cut`;
  }

  /** The primary and whoever uses the volume on its node go on alone, while it is attached elsewhere. */
  #split(): string | undefined {
    const { network, nodes } = this.#world;
    if (nodes.length < 2) return undefined;
    const primary = this.#primary();
    const others = nodes.filter((node) => node !== primary);
    const from = [...others.map((node) => node.name), 'controller'];
    if (this.#random.chance(0.5)) from.push('etcd');
    if (primary.up && this.#random.chance(0.5)) this.#world.attach(primary);
    this.#later(50, 600, () => {
      for (const other of from) {
        network.block(primary.name, other);
        if (this.#random.chance(0.9)) network.block(other, primary.name);
      }
      this.#later(0, 3_000, () => {
        const node = this.#random.pick(others);
        if (node.up) this.#world.attach(node);
      });
      this.#later(500, 7_000, () => network.heal());
    });
    return `primary ${primary.name} is split off`;
  }

  /** Controller and one member lose the primary, the other member does not. */
  #triangle(): string | undefined {
    const { network, nodes } = this.#world;
    if (nodes.length < 2) return undefined;
    const primary = this.#primary();
    const member = this.#random.pick(nodes.filter((node) => node !== primary));
    if (primary.up && this.#random.chance(0.5)) this.#world.attach(primary);
    this.#later(50, 600, () => {
      for (const other of [member.name, 'controller']) {
        network.block(primary.name, other);
        network.block(other, primary.name);
      }
      this.#later(500, 5_000, () => network.heal());
    });
    return `primary ${primary.name} is lost to ${member.name} and the controller`;
  }

  /** Frontends of a node lose the primary, in one direction or both; everybody who might help them sees it well. */
  #frontendCut(): string | undefined {
    const { network, nodes } = this.#world;
    const primary = this.#primary();
    const others = nodes.filter((node) => node !== primary);
    if (others.length === 0) return undefined;
    const frontend = frontendOn(this.#random.pick(others).name);
    const directions = this.#random.pick(['to', 'from', 'both']);
    if (directions !== 'from') network.block(frontend, primary.name);
    if (directions !== 'to') network.block(primary.name, frontend);
    this.#later(200, 6_000, () => network.heal());
    return `${frontend} is cut off from primary ${primary.name} (${directions})`;
  }

  #blackout(): string {
    for (const node of this.#world.nodes) {
      node.crash(true);
      this.#later(100, 3_000, () => node.start());
    }
    return 'power of all nodes is cut';
  }

  #killAll(): string {
    for (const node of this.#world.nodes) {
      node.crash(false);
      this.#later(50, 3_000, () => node.start());
    }
    return 'kill -9 of all nodes';
  }

  #pause(): string | undefined {
    const node = this.#node();
    if (!node.up || node.process.paused) return undefined;
    node.pause();
    this.#later(100, 7_000, () => node.resume());
    return `${node.name} is paused`;
  }

  #partition(oneWay: boolean): string {
    const { network, nodes } = this.#world;
    const names = [...nodes.map((node) => node.name), 'etcd', 'controller'];
    const a = this.#node().name;
    const b = this.#random.pick(names.filter((name) => name !== a));
    network.block(a, b);
    if (!oneWay) network.block(b, a);
    this.#later(200, 6_000, () => network.heal());
    return `partition of ${a} ${oneWay ? '→' : '↔'} ${b}`;
  }

  #isolate(): string {
    const { network, nodes } = this.#world;
    const node = this.#node();
    for (const other of nodes) {
      network.block(node.name, other.name);
      network.block(other.name, node.name);
    }
    if (this.#random.chance(0.5)) {
      network.block(node.name, 'etcd');
      network.block(node.name, 'controller');
    }
    this.#later(500, 6_000, () => network.heal());
    return `${node.name} is isolated`;
  }

  #etcdDown(): string {
    this.#world.etcd.down = true;
    this.#later(200, 5_000, () => {
      this.#world.etcd.down = false;
    });
    return 'etcd is down';
  }

  #etcdTrouble(): string {
    this.#world.etcd.trouble = this.#random.pick([0.1, 0.4, 0.8]);
    this.#later(500, 5_000, () => {
      this.#world.etcd.trouble = 0;
    });
    return 'etcd answers late or not at all';
  }

  #fullDisk(): string {
    const node = this.#node();
    node.disk.setFull(true);
    this.#later(200, 4_000, () => node.disk.setFull(false));
    return `disk of ${node.name} is full`;
  }

  #syncFailure(): string {
    const node = this.#node();
    node.disk.failNextSync(true);
    return `the next fsync of ${node.name} fails`;
  }

  #rot(): string | undefined {
    const node = this.#node();
    return node.disk.rot(this.#random) ? `bits rot on ${node.name}` : undefined;
  }

  #reattach(): string | undefined {
    const node = this.#random.chance(0.5) ? this.#primary() : this.#node();
    if (!node.up) return undefined;
    this.#world.attach(node);
    return `the volume is attached to ${node.name}`;
  }

  #suspicion(): string {
    this.#controller.falseSuspicion = 0.3;
    this.#later(500, 3_000, () => {
      this.#controller.falseSuspicion = 0;
    });
    return 'the controller suspects without reason';
  }
}
