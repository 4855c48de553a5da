/** What changes while a volume is written to: certificates, and the version of the protocol, node by node. */

import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Answer } from '../../../core/candidate.js';
import type { Placement } from '../../../core/domain.js';
import { planFailover } from '../../../core/failover.js';
import type { DeploymentId } from '../../../core/types.js';
import { type Codec, loadCodec } from '../../../node-agent/codec/index.js';
import { PROTOCOL_VERSION } from '../../../node-agent/replication/index.js';
import { eventually } from './helpers.js';
import { BLOCK, Consumer, everything, Nodes, type Running } from './nodes.js';

const BLOCKS = 64;
/** Writes that are on their way at the same time. */
const DEPTH = 4;

/** A busy machine is not to be taken for a lost connection. */
const PATIENT = { pingMs: 200, silenceMs: 5_000 };

let codec: Codec;
let cluster: Nodes;

beforeEach(async () => {
  codec = await loadCodec({ engine: 'wasm' });
  cluster = await Nodes.create(codec);
});
afterEach(() => cluster.destroy());

/** Writes all the time, each block by one writer, and remembers what has been acknowledged. */
class Load {
  readonly #consumer: Consumer;
  readonly #latest = new Map<number, number>();
  #stopping = false;
  acknowledged = 0;
  readonly #writers: Promise<void>[];

  constructor(consumer: Consumer) {
    this.#consumer = consumer;
    this.#writers = Array.from({ length: DEPTH }, (_, lane) => this.#write(lane));
  }

  async #write(lane: number): Promise<void> {
    for (let i = lane; !this.#stopping; i += DEPTH) {
      const block = i % BLOCKS;
      const value = (this.#latest.get(block) ?? 0) + 1;
      await this.#consumer.write(block, Buffer.alloc(BLOCK, value & 0xff));
      this.#latest.set(block, value);
      this.acknowledged++;
    }
  }

  /** Waits until it has gone on for a while. */
  async more(writes = 40): Promise<void> {
    const until = this.acknowledged + writes;
    await eventually(() => this.acknowledged >= until, 'writes go on');
  }

  /** Ends it, and compares what is there with what was acknowledged. */
  async verify(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#writers);
    for (const [block, value] of this.#latest) {
      expect((await this.#consumer.read(block, 1)).equals(Buffer.alloc(BLOCK, value & 0xff)), `block ${block}`).toBe(
        true,
      );
    }
  }
}

it('certificates are renewed while writes go on, and nobody loses a connection', async () => {
  const [a, b, c] = (await Promise.all(cluster.ids.map((id) => cluster.start(id, PATIENT)))) as [
    Running,
    Running,
    Running,
  ];
  const volume = await cluster.provision([a, b]);
  const consumer = new Consumer(cluster, c, volume);
  const load = new Load(consumer);
  await load.more();
  const { epoch } = cluster.record(volume.id);
  for (let round = 0; round < 3; round++) {
    for (const node of [a, b, c]) {
      node.host.setIdentity(await cluster.identity(node.id));
      await load.more();
    }
  }
  // No member was missed, nobody had to open anew.
  expect(cluster.record(volume.id).epoch).toBe(epoch);
  expect([...a.attention, ...b.attention]).not.toContain('member-removed');
  // Whoever connects now does so with what was renewed.
  await cluster.stop(b.id);
  await load.more();
  await cluster.start(b.id);
  const [first, second] = volume.placements as [Placement, Placement];
  await eventually(() => a.host.isPeerUp(b.id), 'connected again');
  await a.host.startSync(first.deployment, second.deployment, () => {}).done;
  await load.more();
  await load.verify();
  expect(await everything(c, first)).toEqual(await everything(c, second));
  await consumer.frontend.close();
});

it('nodes go from one version of the protocol to the next, one by one, while writes go on', async () => {
  const old = { newestVersion: PROTOCOL_VERSION - 1 };
  const [a, b, c] = (await Promise.all(cluster.ids.map((id) => cluster.start(id, old)))) as [Running, Running, Running];
  const volume = await cluster.provision([a, b]);
  const [first, second] = volume.placements as [Placement, Placement];
  const consumer = new Consumer(cluster, c, volume);
  const load = new Load(consumer);
  await load.more();

  // The member first: an old primary brings it up to date.
  await cluster.stop(b.id);
  await load.more();
  const upgraded = await cluster.start(b.id);
  await eventually(() => a.host.isPeerUp(b.id), 'connected again');
  await a.host.startSync(first.deployment, second.deployment, () => {}).done;
  await load.more();

  // The primary: the new one takes over, with an old frontend, and brings the old one up to date.
  await cluster.stop(a.id);
  const record = cluster.record(volume.id);
  const answers = new Map<DeploymentId, Answer>([
    [first.deployment, 'unreachable'],
    [second.deployment, await upgraded.host.remoteStatus(second)],
  ]);
  const step = planFailover(record, volume.placements, answers);
  if (step.kind !== 'swap') throw new Error(`no candidate: ${JSON.stringify(step)}`);
  cluster.put(step.next);
  await load.more();
  for (const transport of [old, {}]) {
    await cluster.start(a.id, transport);
    await eventually(() => upgraded.host.isPeerUp(a.id), 'connected again');
    await upgraded.host.startSync(second.deployment, first.deployment, () => {}).done;
    await load.more();
    expect(cluster.record(volume.id).inSync).toHaveLength(2);
    if (transport === old) await cluster.stop(a.id);
    await load.more();
  }
  await load.verify();
  expect(await everything(upgraded, first)).toEqual(await everything(upgraded, second));
  await consumer.frontend.close();
});
