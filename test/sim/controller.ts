/**
 * What the volume's workflow does for a volume's copies, in its thinnest form and on virtual time: the same
 * core functions, asked again and again, with answers that may be old when it acts on them.
 */

import type { Answer } from '../../core/candidate.js';
import { DEFAULT_PATIENCE, patienceMs, planFailover, primaryHealth } from '../../core/failover.js';
import type { DeploymentId } from '../../core/types.js';
import type { SimNode, World } from './node.js';
import { SimProcess } from './scheduler.js';

const LOOK_EVERY_MS = 500;
const ASK_TIMEOUT_MS = 400;

export class SimController {
  readonly #world: World;
  readonly #process: SimProcess;
  /** How often it suspects a primary for no reason. */
  falseSuspicion = 0;
  running = true;
  failovers = 0;
  syncsStarted = 0;
  lossyChoices = 0;
  #unwell: { health: string; epoch: number; since: number } | undefined;
  #lastAttention = 0;

  constructor(world: World) {
    this.#world = world;
    this.#process = new SimProcess(world.scheduler);
    this.#loop();
  }

  #loop(): void {
    const { scheduler, random } = this.#world;
    scheduler.after(random.between(0.5, 1.5) * LOOK_EVERY_MS, () => {
      void this.#look();
      this.#loop();
    });
  }

  /** Somebody says that something may have changed. */
  wake(): void {
    const { scheduler } = this.#world;
    if (scheduler.now - this.#lastAttention < 50) return;
    this.#lastAttention = scheduler.now;
    scheduler.after(20, () => void this.#look());
  }

  /** Looks at once, and names another primary whatever it sees. */
  promote(): void {
    void this.#look(true);
  }

  #ask(node: SimNode): Promise<Answer> {
    const { scheduler, network } = this.#world;
    return new Promise((resolve) => {
      scheduler.after(ASK_TIMEOUT_MS, () => resolve('unreachable'));
      if (network.isBlocked('controller', node.name) || network.isBlocked(node.name, 'controller')) return;
      scheduler.after(network.delay(), () => {
        const status = node.status();
        if (status === undefined) return;
        scheduler.after(network.delay(), () => resolve(status));
      });
    });
  }

  async #look(always = false): Promise<void> {
    if (!this.running) return;
    const { etcd, nodes, scheduler, random, spec } = this.#world;
    const record = await etcd.read('controller', this.#process).catch(() => undefined);
    if (record === undefined) return;
    const answers = new Map<DeploymentId, Answer>();
    const asked = nodes.map(async (node) => {
      answers.set(node.placement.deployment, await this.#ask(node));
    });
    await Promise.all(asked);
    const health = primaryHealth(record, answers.get(record.primary.deployment));
    const suspected = always || random.chance(this.falseSuspicion);
    if (health === 'serving' && !suspected) {
      this.#unwell = undefined;
      this.#syncOthers(record.primary.deployment, new Set(record.inSync), answers);
      return;
    }
    if (this.#unwell?.health !== health || this.#unwell.epoch !== record.epoch) {
      this.#unwell = { health, epoch: record.epoch, since: scheduler.now };
    }
    const patience = patienceMs(record, health, DEFAULT_PATIENCE);
    if (scheduler.now - this.#unwell.since < patience && !suspected) return;
    const step = planFailover(record, spec.placements, answers);
    if (step.kind === 'wait') return;
    this.#unwell = undefined;
    this.failovers++;
    if (step.lossy) this.lossyChoices++;
    this.#world.trace('controller', `names ${step.next.primary.node} (${health})`, {
      epoch: step.next.epoch,
      lossy: step.lossy,
    });
    await etcd.swap('controller', this.#process, record, step.next);
  }

  #syncOthers(
    primary: DeploymentId,
    inSync: ReadonlySet<DeploymentId>,
    answers: ReadonlyMap<DeploymentId, Answer>,
  ): void {
    const node = this.#world.nodes.find((candidate) => candidate.placement.deployment === primary);
    for (const [deployment, answer] of answers) {
      if (inSync.has(deployment) || answer === 'unreachable') continue;
      node?.process.run(() => {
        const sync = node.deployment?.startSync(deployment, () => {});
        sync?.done.then(
          () => {
            this.syncsStarted++;
            this.#world.trace('controller', `sync of ${deployment.slice(0, 8)} is done`);
          },
          (error: Error) => this.#world.trace('controller', `no sync of ${deployment.slice(0, 8)}: ${error.message}`),
        );
      });
    }
  }
}
