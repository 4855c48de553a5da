/**
 * What a volume's workflow does, on virtual time: the same planner, asked again and again, with answers that may be
 * old when it acts on them; and the acts that it plans, as the activities do them.
 */

import { recoverAttachment } from '../../core/attachment.js';
import type { Membership, Placement } from '../../core/domain.js';
import { planFailover, primaryHealth } from '../../core/failover.js';
import {
  type Act,
  actKey,
  asAnswer,
  type CopyAnswer,
  DEFAULT_PLAN_SETTINGS,
  EMPTY_MEMORY,
  type Failures,
  type PlanMemory,
  type PlanSettings,
} from '../../core/plan-steps.js';
import { planRecovery, type RecoveryRisk, type SurveyedCopy } from '../../core/recovery.js';
import type { DeploymentId, NodeId } from '../../core/types.js';
import { planVolume } from '../../core/volume-plan.js';
import type { SimNode } from './node.js';
import { SimProcess } from './scheduler.js';
import type { SimVolume } from './volume.js';
import type { World } from './world.js';

export const CONTROLLER = 'controller';
const LOOK_EVERY_MS = 500;
const ASK_TIMEOUT_MS = 400;
const WAKE_MS = 20;
const MIN_BETWEEN_WAKES_MS = 50;
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 4_000;

/** What is known of the copies, and what was true of those that say that they are unclean, or nothing. */
interface Look {
  readonly record: Membership;
  readonly answers: ReadonlyMap<DeploymentId, CopyAnswer>;
  /** Copies that had everything when they were asked, whether they answered or not. */
  readonly complete: ReadonlySet<DeploymentId>;
}

export class SimController {
  readonly #world: World;
  readonly #volume: SimVolume;
  readonly #process: SimProcess;
  readonly #settings: PlanSettings;
  /** How often it takes a primary that serves for dead. */
  falseSuspicion = 0;
  /** The workflow waits while something else decides, or at the end. */
  running = true;
  #memory: PlanMemory = EMPTY_MEMORY;
  #failures: Failures = {};
  #background: 'sync' | 'rebuild' | undefined;
  #looking = false;
  #lastWake = Number.NEGATIVE_INFINITY;

  constructor(world: World, volume: SimVolume) {
    this.#world = world;
    this.#volume = volume;
    this.#process = new SimProcess(world.scheduler);
    this.#settings = { ...DEFAULT_PLAN_SETTINGS, graceMs: world.random.pick([1_000, 15_000]), idleMs: 2_000 };
    this.#loop();
  }

  #loop(): void {
    const { scheduler, random } = this.#world;
    scheduler.after(random.between(0.5, 1.5) * LOOK_EVERY_MS, () => {
      if (!this.#process.alive) return;
      void this.#look();
      this.#loop();
    });
  }

  /** For good. */
  end(): void {
    this.running = false;
    this.#process.kill();
  }

  /** Somebody says that something may have changed. */
  wake(): void {
    const { scheduler } = this.#world;
    if (scheduler.now - this.#lastWake < MIN_BETWEEN_WAKES_MS) return;
    this.#lastWake = scheduler.now;
    scheduler.after(WAKE_MS, () => void this.#look());
  }

  /** Looks at once, and names another primary whatever it sees. */
  promote(): void {
    void this.#readAndAsk().then((look) => look && this.#nameAnother(look, true));
  }

  /* ---- looking ---- */

  #ask<T>(node: SimNode, question: () => T | undefined): Promise<T | undefined> {
    const { scheduler, network } = this.#world;
    return new Promise((resolve) => {
      const timeout = scheduler.after(ASK_TIMEOUT_MS, () => resolve(undefined));
      if (network.isCut(CONTROLLER, node.name)) return;
      scheduler.after(network.delay(), () => {
        const answer = question();
        if (answer === undefined) return;
        scheduler.after(network.delay(), () => {
          timeout.cancel();
          resolve(answer);
        });
      });
    });
  }

  async #readAndAsk(): Promise<Look | undefined> {
    const { etcd } = this.#world;
    const volume = this.#volume;
    const record = await etcd.read({ name: CONTROLLER, process: this.#process }, volume.id).catch(() => undefined);
    if (record === undefined) return undefined;
    const { placements } = volume.spec;
    const asked = placements.some(({ deployment }) => deployment === record.primary.deployment)
      ? placements
      : [...placements, record.primary];
    const answers = new Map<DeploymentId, CopyAnswer>();
    const complete = new Set<DeploymentId>();
    await Promise.all(
      asked.map(async ({ deployment, node: id }) => {
        const node = this.#world.node(id);
        const isComplete = (): boolean => record.inSync.includes(deployment) && !node.isUnclean(deployment);
        if (isComplete()) complete.add(deployment);
        const answer = await this.#ask(node, () => {
          if (!isComplete()) complete.delete(deployment);
          return node.status(deployment);
        });
        answers.set(deployment, answer ?? 'unreachable');
      }),
    );
    return { record, answers, complete };
  }

  async #look(): Promise<void> {
    if (!this.running || this.#looking) return;
    this.#looking = true;
    const look = await this.#readAndAsk();
    if (look !== undefined && this.running) await this.#decide(look);
    this.#looking = false;
  }

  async #decide(look: Look): Promise<void> {
    const { nodes, scheduler, random } = this.#world;
    const volume = this.#volume;
    if (random.chance(this.falseSuspicion)) {
      await this.#nameAnother(look, true);
      return;
    }
    const plan = planVolume({
      volume: volume.volumeRecord,
      membership: look.record,
      answers: look.answers,
      nodes: new Map(nodes.map(({ id }) => [id, { id, name: id, cordoned: false, computeOnly: false }] as const)),
      attachedTo: volume.client?.node.id,
      running: this.#background,
      failures: this.#failures,
      memory: this.#memory,
      nowMs: scheduler.now,
      settings: this.#settings,
    });
    this.#memory = plan.memory;
    const { step } = plan;
    if (step.act !== 'wait' && step.act !== 'end') await this.#do(step, look);
  }

  /* ---- acting ---- */

  async #do(act: Act, look: Look): Promise<void> {
    switch (act.act) {
      case 'failover':
        await this.#nameAnother(look, act.stalled === true);
        return;
      case 'sync':
        this.#begin(act, () => this.#sync(act.primary.deployment, act.deployment));
        return;
      case 'rebuild':
        this.#begin(act, () => this.#rebuild(act));
        return;
      case 'remove-copy':
        await this.#tried(act, this.#removeCopy(act.primary.deployment, act.deployment, act.reason));
        return;
      case 'provision':
      case 'delete':
        throw new Error(`the plan of a volume that is there says ${act.act}`);
    }
  }

  /** Goes on beside the looks. */
  #begin(act: Act & { act: 'sync' | 'rebuild' }, run: () => Promise<void>): void {
    this.#background = act.act;
    void this.#tried(act, run()).then(() => {
      this.#background = undefined;
      this.wake();
    });
  }

  async #tried(act: Act, done: Promise<void>): Promise<void> {
    const key = actKey(act);
    try {
      await done;
      const { [key]: _, ...others } = this.#failures;
      this.#failures = others;
    } catch (error) {
      this.#volume.trace(CONTROLLER, `${key} failed: ${(error as Error).message}`);
      const count = (this.#failures[key]?.count ?? 0) + 1;
      const notBeforeMs = this.#world.scheduler.now + Math.min(FIRST_RETRY_MS * 2 ** (count - 1), MAX_RETRY_MS);
      this.#failures = { ...this.#failures, [key]: { count, notBeforeMs } };
    }
  }

  /** Transaction 1 of a promotion. `always`: also of a primary that is well. */
  async #nameAnother({ record, answers, complete }: Look, always: boolean): Promise<void> {
    const { etcd } = this.#world;
    const volume = this.#volume;
    if (record.etcdClusterId !== etcd.clusterId) return;
    const told = new Map([...answers].map(([id, answer]) => [id, asAnswer(answer)] as const));
    const health = primaryHealth(record, told.get(record.primary.deployment));
    if (!always && (health === 'serving' || health === 'working')) return;
    const step = planFailover(record, volume.spec.placements, told);
    if (step.kind === 'wait') return;
    const { next, lossy } = step;
    volume.trace(CONTROLLER, `names ${next.primary.node} (${health})`, { epoch: next.epoch, lossy });
    this.#world.count('promotions', 1);
    if (lossy) this.#checkLossyChoice(next, complete);
    const client = { name: CONTROLLER, process: this.#process, etcdClusterId: etcd.clusterId };
    await etcd.swap(client, record, next);
  }

  /** [R10] Nobody who may have lost writes is chosen while a member has them all, wherever it is. */
  #checkLossyChoice({ primary }: Membership, complete: ReadonlySet<DeploymentId>): void {
    if (complete.size === 0) return;
    const others = [...complete].map((deployment) => this.#volume.nodeOf(deployment)?.name ?? deployment);
    this.#volume.problem(`${primary.node} is unclean and was chosen though ${others.join(', ')} was not`);
  }

  /** On that node, as an activity does it: fails if the node does not answer, or ends meanwhile. */
  async #on<T>(node: SimNode | undefined, run: (node: SimNode) => Promise<T>): Promise<T> {
    const begun =
      node === undefined
        ? undefined
        : await this.#ask(node, () => {
            const { process } = node;
            if (!process.alive || process.paused) return undefined;
            const done = run(node);
            // Whoever asked may have given up by the time that he would hear of it.
            done.catch(() => {});
            return { process, done };
          });
    if (begun === undefined) throw new Error('the node does not answer');
    return this.#whileAlive(begun.process, begun.done);
  }

  /** A process that has ended sends no heartbeat any more. */
  #whileAlive<T>(process: SimProcess, done: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let ended = false;
      const end = (): void => {
        ended = true;
      };
      done.then(resolve, reject).finally(end);
      const look = (): void => {
        if (ended) return;
        if (process.alive) this.#world.scheduler.after(LOOK_EVERY_MS, look);
        else reject(new Error('the process has ended'));
      };
      look();
    });
  }

  async #sync(primary: DeploymentId, target: DeploymentId): Promise<void> {
    const result = await this.#on(this.#volume.nodeOf(primary), async (node) => {
      const copy = node.copies.get(primary);
      if (copy === undefined) throw new Error('the primary is not open');
      return copy.replicated.startSync(target, () => {}).done;
    });
    this.#world.count(result.kind === 'full' ? 'full syncs' : 'delta syncs', 1);
    this.#volume.trace(CONTROLLER, `${result.kind} sync of ${target.slice(0, 8)} is done`);
  }

  async #rebuild({ placed, primary, reason }: Extract<Act, { act: 'rebuild' }>): Promise<void> {
    const { random, nodes } = this.#world;
    const volume = this.#volume;
    let target: Placement | undefined = placed;
    if (target === undefined) {
      const free = nodes.filter((node) => node.up && !volume.nodes.includes(node));
      if (free.length === 0) throw new Error('no node for another copy');
      target = { deployment: random.uuid() as DeploymentId, node: random.pick(free).id };
      volume.place(target);
    }
    const { deployment, node } = target;
    volume.trace(CONTROLLER, `a new copy on ${node}, because ${reason}`);
    this.#world.count('rebuilds', 1);
    await this.#on(this.#world.node(node), (there) => there.create(volume, deployment));
    await this.#sync(primary.deployment, deployment);
  }

  /** Out of the membership, then out of the record, then off the disk. */
  async #removeCopy(primary: DeploymentId, deployment: DeploymentId, reason: string): Promise<void> {
    const { etcd } = this.#world;
    const volume = this.#volume;
    await this.#on(volume.nodeOf(primary), async (node) => {
      const copy = node.copies.get(primary);
      if (copy === undefined) throw new Error('the primary is not open');
      await copy.replicated.removeMember(deployment, reason);
    });
    const record = await etcd.read({ name: CONTROLLER, process: this.#process }, volume.id);
    if (record?.inSync.includes(deployment) !== false) throw new Error('it is in sync: it cannot be dropped');
    volume.trace(CONTROLLER, `copy ${deployment.slice(0, 8)} is dropped, because ${reason}`);
    volume.drop(deployment);
  }

  /* ---- an etcd that is behind ---- */

  /** `storageos recover`, with `--accept-data-loss` if that is wanted. False: not yet, ask again. */
  async recover(acceptLoss: boolean): Promise<boolean> {
    const { etcd, nodes, scheduler } = this.#world;
    const volume = this.#volume;
    const client = { name: CONTROLLER, process: this.#process, etcdClusterId: etcd.clusterId };
    const record = await etcd.read(client, volume.id).catch(() => undefined);
    const surveys = await Promise.all(nodes.map((node) => this.#ask(node, () => node.survey(volume))));
    const closed = surveys.flatMap((survey, i) =>
      (survey?.closed ?? []).map((deployment): Placement => ({ deployment, node: nodes[i]!.id })),
    );
    const copies = surveys.flatMap((survey) => survey?.copies ?? []);
    const timestamp = new Date(scheduler.now).toISOString();
    const plan = planRecovery({
      volume: volume.id,
      record,
      placements: volume.spec.placements,
      copies,
      closed,
      silent: nodes.filter((_, i) => surveys[i] === undefined).map(({ id }): NodeId => id),
      unsure: [],
      etcdClusterId: etcd.clusterId,
      timestamp,
    });
    const { next, reasons, risks, adopting, placements, abandoned } = plan;
    if (reasons.length === 0) return true;
    volume.trace(CONTROLLER, 'recovers', { reasons, risks, next });
    const refused = risks.filter((risk) => !isOfErased(risk));
    if (record === undefined || next === undefined || (refused.length > 0 && !acceptLoss)) return false;
    try {
      for (const { deployment, node } of adopting) {
        await this.#on(this.#world.node(node), async (there) => {
          const copy = there.copies.get(deployment);
          if (copy === undefined) throw new Error('the copy is not open');
          await there.adoptCluster(copy);
        });
      }
      const seen = Math.max(...copies.map(({ status }) => status.generation));
      volume.attachment = recoverAttachment(volume.attachment, seen, timestamp);
      volume.change({ placements });
      // Who has everything and is there has to be chosen, whatever may be lost with the others.
      volume.mayLoseAll =
        refused.some(({ kind }) => kind !== 'unclean') && !copies.some((copy) => hasAll(copy, volume.newest));
      if ((await etcd.swap(client, record, next)) !== 'applied') return false;
      if (refused.length > 0) this.#world.count('accepted losses', 1);
      for (const copy of abandoned) volume.drop(copy.deployment, this.#world.node(copy.node));
      return true;
    } catch (error) {
      volume.trace(CONTROLLER, `no recovery yet: ${(error as Error).message}`);
      return false;
    } finally {
      volume.mayLoseAll = false;
    }
  }
}

/** It has all that was acknowledged: it was in sync to the end, and a power cut has taken nothing from it. */
function hasAll({ status, syncBase }: SurveyedCopy, newest: Membership | undefined): boolean {
  return newest?.inSync.includes(status.deployment) === true && syncBase === null && !status.unclean;
}

/** All nodes have answered: a copy that is on none of them was given up long ago, which whoever recovers knows. */
function isOfErased(risk: RecoveryRisk): boolean {
  return risk.kind === 'copy-missing' && risk.node === undefined;
}
