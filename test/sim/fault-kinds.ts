/** What may go wrong in a simulation. Each fault ends by itself, unless all are over before. */

import { CONTROLLER } from './controller.js';
import type { SimNode } from './node.js';
import type { SeededRandom } from './scheduler.js';
import { FAILURE_MODES, type SimVolume } from './volume.js';
import { frontendOn } from './workload.js';
import type { World } from './world.js';

/** Does it and says what; undefined: not possible now. */
type Fault = () => string | undefined;

export class FaultKinds {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #over: () => boolean;
  readonly #kinds: Readonly<Record<string, Fault>>;

  constructor(world: World, random: SeededRandom, over: () => boolean) {
    this.#world = world;
    this.#random = random;
    this.#over = over;
    this.#kinds = {
      kill: () => this.#crash(this.#node(), false),
      power: () => this.#crash(this.#node(), true),
      killPrimary: () => this.#crash(this.#primary(), false),
      powerPrimary: () => this.#crash(this.#primary(), true),
      powerOfMost: () => this.#powerOfMost(),
      blackout: () => this.#blackout(),
      killAll: () => this.#killAll(),
      restart: () => this.#restart(),
      pause: () => this.#pause(),
      split: () => this.#split(),
      triangle: () => this.#triangle(),
      partition: () => this.#partition(false),
      oneWay: () => this.#partition(true),
      isolate: () => this.#isolate(),
      frontendCut: () => this.#frontendCut(),
      etcdDown: () => this.#etcdDown(),
      etcdTrouble: () => this.#etcdTrouble(),
      fullDisk: () => this.#fullDisk(),
      slowDisk: () => this.#slowDisk(),
      stuckDisk: () => this.#stuckDisk(),
      syncFailure: () => this.#syncFailure(),
      rot: () => this.#rot(),
      misdirected: () => this.#misdirected(),
      reattach: () => this.#reattach(),
      suspicion: () => this.#suspicion(),
      failureMode: () => this.#changeFailureMode(),
      replicas: () => this.#changeReplicas(),
    };
  }

  get names(): string[] {
    return Object.keys(this.#kinds);
  }

  inject(name: string): string | undefined {
    return this.#kinds[name]!();
  }

  #later(minMs: number, maxMs: number, act: () => void): void {
    this.#world.scheduler.after(this.#random.between(minMs, maxMs), () => {
      if (!this.#over()) act();
    });
  }

  #node(): SimNode {
    return this.#random.pick(this.#world.nodes);
  }

  #volume(): SimVolume {
    return this.#random.pick(this.#world.volumes);
  }

  #primary(volume = this.#volume()): SimNode {
    return volume.primary ?? this.#node();
  }

  /** Nodes with copies of the volume but its primary's. */
  #others(volume: SimVolume, primary: SimNode): SimNode[] {
    return volume.nodes.filter((node) => node !== primary);
  }

  /** Cuts both directions between a node and others, sometimes only the one from it; returns what ends it. */
  #cut(from: string, others: readonly string[], bothWays = 1): () => void {
    const { network } = this.#world;
    const releases = others.flatMap((other) => [
      network.block(from, other),
      ...(this.#random.chance(bothWays) ? [network.block(other, from)] : []),
    ]);
    return () => {
      for (const release of releases) release();
    };
  }

  /* ---- processes and machines ---- */

  #crash(node: SimNode, power: boolean): string | undefined {
    if (!node.up && !power) return undefined;
    const wasUp = node.up;
    node.crash(power);
    if (!wasUp) return `the power of ${node.name}, which is down, is cut`;
    this.#later(this.#random.chance(0.5) ? 20 : 500, this.#random.chance(0.5) ? 300 : 6_000, () => node.start());
    return power ? `power of ${node.name} is cut` : `kill -9 of ${node.name}`;
  }

  /** All nodes but one lose power, that one is killed or cut off, all within a moment and for different times. */
  #powerOfMost(): string {
    const spared = this.#node();
    const others = this.#world.nodes.filter((node) => node !== spared);
    for (const node of others) {
      this.#later(0, 400, () => {
        node.crash(true);
        this.#later(20, this.#random.chance(0.5) ? 200 : 4_000, () => node.start());
      });
    }
    this.#later(0, 400, () => {
      if (this.#random.chance(0.5)) this.#crash(spared, false);
      else this.#later(300, 5_000, this.#cut(spared.name, [...others.map((node) => node.name), CONTROLLER]));
    });
    return `power of all but ${spared.name} is cut`;
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

  /** In good order, and soon again. */
  #restart(): string | undefined {
    const node = this.#node();
    if (!node.up || node.process.paused) return undefined;
    void node.stop();
    this.#later(500, 2_000, () => {
      node.crash(false);
      node.start();
    });
    return `${node.name} is restarted`;
  }

  #pause(): string | undefined {
    const node = this.#node();
    if (!node.up || node.process.paused) return undefined;
    node.pause();
    this.#later(100, 7_000, () => node.resume());
    return `${node.name} is paused`;
  }

  /* ---- networks ---- */

  /** The primary and whoever uses the volume on its node go on alone, while it is attached elsewhere. */
  #split(): string | undefined {
    const volume = this.#volume();
    const primary = this.#primary(volume);
    const others = this.#others(volume, primary);
    if (others.length === 0) return undefined;
    const from = [...others.map((node) => node.name), CONTROLLER];
    if (this.#random.chance(0.5)) from.push('etcd');
    if (primary.up && this.#random.chance(0.5)) volume.attach(primary);
    this.#later(50, 600, () => {
      const end = this.#cut(primary.name, from, 0.9);
      this.#later(0, 3_000, () => {
        const node = this.#random.pick(others);
        if (node.up) volume.attach(node);
      });
      this.#later(500, 7_000, end);
    });
    return `primary ${primary.name} of v${volume.number} is split off`;
  }

  /** Controller and one member lose the primary, the other members do not. */
  #triangle(): string | undefined {
    const volume = this.#volume();
    const primary = this.#primary(volume);
    const others = this.#others(volume, primary);
    if (others.length === 0) return undefined;
    const member = this.#random.pick(others);
    if (primary.up && this.#random.chance(0.5)) volume.attach(primary);
    this.#later(50, 600, () => {
      this.#later(500, 5_000, this.#cut(primary.name, [member.name, CONTROLLER]));
    });
    return `primary ${primary.name} of v${volume.number} is lost to ${member.name} and the controller`;
  }

  /** Frontends of a node lose the primary, in one direction or both; everybody who might help them sees it well. */
  #frontendCut(): string | undefined {
    const { network, nodes } = this.#world;
    const volume = this.#volume();
    const primary = this.#primary(volume);
    const others = nodes.filter((node) => node !== primary);
    if (others.length === 0) return undefined;
    const frontend = frontendOn(this.#random.pick(others).name);
    const directions = this.#random.pick(['to', 'from', 'both']);
    const ends = [
      ...(directions === 'from' ? [] : [network.block(frontend, primary.name)]),
      ...(directions === 'to' ? [] : [network.block(primary.name, frontend)]),
    ];
    this.#later(200, 6_000, () => {
      for (const end of ends) end();
    });
    return `${frontend} is cut off from primary ${primary.name} of v${volume.number} (${directions})`;
  }

  #partition(oneWay: boolean): string {
    const names = [...this.#world.nodes.map((node) => node.name), 'etcd', CONTROLLER];
    const a = this.#node().name;
    const b = this.#random.pick(names.filter((name) => name !== a));
    this.#later(200, 6_000, this.#cut(a, [b], oneWay ? 0 : 1));
    return `partition of ${a} ${oneWay ? '→' : '↔'} ${b}`;
  }

  #isolate(): string {
    const node = this.#node();
    const end = this.#cut(
      node.name,
      this.#world.nodes.filter((other) => other !== node).map((other) => other.name),
    );
    const endOfRest = this.#random.chance(0.5) ? this.#cut(node.name, ['etcd', CONTROLLER], 0) : () => {};
    this.#later(500, 6_000, () => {
      end();
      endOfRest();
    });
    return `${node.name} is isolated`;
  }

  /* ---- etcd ---- */

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

  /* ---- disks ---- */

  #fullDisk(): string {
    const node = this.#node();
    node.disk.setFull(true);
    this.#later(200, 4_000, () => node.disk.setFull(false));
    return `disk of ${node.name} is full`;
  }

  #slowDisk(): string {
    const node = this.#node();
    node.disk.setSpeed('slow');
    this.#later(500, 6_000, () => node.disk.setSpeed('usual'));
    return `disk of ${node.name} is slow`;
  }

  #stuckDisk(): string {
    const node = this.#node();
    node.disk.setSpeed('stuck');
    this.#later(300, 8_000, () => node.disk.setSpeed('usual'));
    return `disk of ${node.name} does not answer`;
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

  #misdirected(): string | undefined {
    const node = this.#node();
    return node.disk.misdirect(this.#random) ? `a write of ${node.name} stands in another one's place` : undefined;
  }

  /* ---- people ---- */

  #reattach(): string | undefined {
    const volume = this.#volume();
    const node = this.#random.chance(0.5) ? this.#primary(volume) : this.#node();
    if (!node.up) return undefined;
    volume.attach(node);
    return `v${volume.number} is attached to ${node.name}`;
  }

  #suspicion(): string {
    const { controller, number } = this.#volume();
    controller.falseSuspicion = 0.3;
    this.#later(500, 3_000, () => {
      controller.falseSuspicion = 0;
    });
    return `the controller of v${number} suspects without reason`;
  }

  #changeFailureMode(): string {
    const volume = this.#volume();
    const failureMode = this.#random.pick(FAILURE_MODES);
    volume.change({ failureMode });
    return `the failure mode of v${volume.number} is ${failureMode.kind}`;
  }

  #changeReplicas(): string | undefined {
    const volume = this.#volume();
    const most = Math.min(5, this.#world.nodes.length - 1);
    const replicas = Math.max(0, volume.spec.replicas + this.#random.pick([-1, 1]));
    if (replicas > most) return undefined;
    volume.change({ replicas });
    return `v${volume.number} is to have ${replicas} replicas`;
  }
}
