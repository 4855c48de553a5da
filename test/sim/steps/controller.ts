/**
 * What the volume's workflow does for its copies, step by step: it reads the record, asks everybody, and acts upon
 * answers that may be old by then.
 */

import type { Answer } from '../../../core/candidate.js';
import type { Membership } from '../../../core/domain.js';
import { planFailover, primaryHealth } from '../../../core/failover.js';
import type { DeploymentId } from '../../../core/types.js';
import type { StepNode, StepWorld } from './node.js';

const NAME = 'controller';

/** `look`: what has to be done. `impatient`: also a primary that is on its way is passed over. `suspect`: any primary. */
export type Mood = 'look' | 'impatient' | 'suspect';

interface Round {
  readonly mood: Mood;
  readonly record: Membership;
  readonly answers: Map<DeploymentId, Answer>;
}

export class StepController {
  readonly name = NAME;
  readonly #world: StepWorld;
  #round: Round | undefined;
  #reading = false;
  promotions = 0;
  /** A sync was asked for at some time. */
  syncing = false;
  syncs = 0;

  constructor(world: StepWorld) {
    this.#world = world;
  }

  get busy(): boolean {
    return this.#reading || this.#round !== undefined;
  }

  look(mood: Mood): void {
    if (this.busy) return;
    this.#reading = true;
    void this.#world.etcd.read(NAME).then((record) => {
      this.#reading = false;
      if (record === undefined) return;
      const round: Round = { mood, record, answers: new Map() };
      this.#round = round;
      for (const node of this.#world.nodes) this.#ask(round, node);
    });
  }

  #ask(round: Round, node: StepNode): void {
    const { queues } = this.#world;
    const { name, placement } = node;
    const suspected = round.mood === 'suspect' && placement.deployment === round.record.primary.deployment;
    if (!node.up || suspected) {
      this.#queueSilence(round, node);
      return;
    }
    queues.post(`${NAME}>${name}`, name, 'status?', () => {
      const status = node.status() ?? 'unreachable';
      queues.post(`${name}>${NAME}`, NAME, { type: 'status', status }, () =>
        this.#answer(round, placement.deployment, status),
      );
    });
  }

  /** Its connection with this node is gone. */
  lost(node: StepNode): void {
    const round = this.#round;
    if (round !== undefined) this.#queueSilence(round, node);
  }

  #queueSilence(round: Round, { name, placement }: StepNode): void {
    this.#world.queues.post(`${name}>${NAME}`, NAME, 'does not answer', () => {
      this.#answer(round, placement.deployment, 'unreachable');
    });
  }

  #answer(round: Round, deployment: DeploymentId, answer: Answer): void {
    if (this.#round !== round || round.answers.has(deployment)) return;
    round.answers.set(deployment, answer);
    if (round.answers.size === this.#world.nodes.length) this.#decide(round);
  }

  /** Who has not answered does not answer. */
  stopWaiting(): void {
    const round = this.#round;
    if (round === undefined) return;
    for (const { placement } of this.#world.nodes) {
      if (!round.answers.has(placement.deployment)) round.answers.set(placement.deployment, 'unreachable');
    }
    this.#decide(round);
  }

  #decide({ mood, record, answers }: Round): void {
    this.#round = undefined;
    const health = primaryHealth(record, answers.get(record.primary.deployment));
    if (health === 'serving') {
      this.#sync(record, answers);
      return;
    }
    if (health === 'working' && mood === 'look') return;
    const step = planFailover(record, this.#world.spec.placements, answers);
    if (step.kind === 'wait') return;
    this.promotions++;
    const { epoch, primary } = step.next;
    this.#world.trace(NAME, `names ${primary.node} (${health})`, { epoch, lossy: step.lossy });
    void this.#world.etcd.swap(NAME, record, step.next);
  }

  #sync(record: Membership, answers: ReadonlyMap<DeploymentId, Answer>): void {
    const source = this.#world.nodes.find(({ placement }) => placement.deployment === record.primary.deployment)!;
    for (const [target, answer] of answers) {
      if (record.inSync.includes(target) || answer === 'unreachable') continue;
      this.syncing = true;
      this.#world.queues.post(`${NAME}>${source.name}`, source.name, `sync ${target}`, () => {
        source.deployment
          ?.startSync(target, () => {})
          .done.then(
            () => {
              this.syncs++;
            },
            (error: Error) => this.#world.trace(source.name, `no sync of ${target}: ${error.message}`),
          );
      });
    }
  }
}
