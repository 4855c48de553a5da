/** Nodes in one process: real sockets, TLS, stores and protocol; etcd is a map with a compare-and-swap. */

import { randomBytes, randomUUID } from 'node:crypto';
import { readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Answer } from '../../../core/candidate.js';
import type { Placement, Volume } from '../../../core/domain.js';
import { planFailover } from '../../../core/failover.js';
import type { BlockNumber, DeploymentId, Generation, NodeId, SessionNumber } from '../../../core/types.js';
import { type Codec, loadCodec } from '../../../node-agent/codec/index.js';
import { PeerUnreachableError } from '../../../node-agent/replication/index.js';
import { eventually } from './helpers.js';
import { BLOCK, Consumer, everything, makeVolume, Nodes, place, type Running } from './nodes.js';

let codec: Codec;
let cluster: Nodes;

beforeEach(async () => {
  codec = await loadCodec({ engine: 'wasm' });
  cluster = await Nodes.create(codec);
});
afterEach(() => cluster.destroy());

/** Of all copies of a node that is stopped. */
async function damageLogs(node: NodeId): Promise<void> {
  const data = join(cluster.directory(node), 'data', 'dev1');
  const segments = (await readdir(data)).filter((name) => name.endsWith('.blob'));
  for (const name of segments) await writeFile(join(data, name), Buffer.alloc(8192, 0xa5), { flag: 'r+' });
}

/** And flushes it. */
async function writeBlock(node: Running, volume: Volume): Promise<void> {
  const consumer = new Consumer(cluster, node, volume);
  await consumer.write(0, randomBytes(BLOCK));
  expect(await consumer.frontend.flush()).toBe('ok');
  await consumer.frontend.close();
}

describe('a volume of two copies', () => {
  it('is written and read from any node, and both copies are the same', async () => {
    const [a, b, c] = await Promise.all(cluster.ids.map((id) => cluster.start(id)));
    const volume = await cluster.provision([a!, b!]);
    const pattern = (i: number): Buffer => randomBytes(BLOCK * 4).fill(i, 0, 100);
    const blocks = Array.from({ length: 60 }, (_, i) => pattern(i));
    const consumers = [a!, b!, c!].map((node) => new Consumer(cluster, node, volume));
    // One frontend at a time: a newer session ends the older ones.
    for (const consumer of consumers) {
      await Promise.all(blocks.map((data, i) => consumer.write(i * 4, data)));
      expect(await consumer.frontend.flush()).toBe('ok');
      const read = await Promise.all(blocks.map((_, i) => consumer.read(i * 4, 4)));
      expect(Buffer.concat(read).equals(Buffer.concat(blocks))).toBe(true);
      expect((await consumer.read(1000, 2)).equals(Buffer.alloc(2 * BLOCK))).toBe(true);
      await consumer.frontend.close();
    }
    const [first, second] = volume.placements as [Placement, Placement];
    const copies = [await everything(c!, first), await everything(c!, second)];
    expect(copies[0]).toHaveLength(240);
    expect(copies[1]).toEqual(copies[0]);
    expect((await c!.host.remoteStatus(first)).role).toBe('primary');
    expect((await c!.host.remoteStatus(second)).role).toBe('member');
  });

  it('goes on when a member stops, takes it back by a delta sync, and fails over to it', async () => {
    const [a, b, c] = (await Promise.all(cluster.ids.map((id) => cluster.start(id)))) as [Running, Running, Running];
    const volume = await cluster.provision([a, b]);
    const [first, second] = volume.placements as [Placement, Placement];
    const consumer = new Consumer(cluster, c, volume);
    await consumer.write(0, Buffer.alloc(64 * BLOCK, 1));
    await cluster.stop(b.id);
    await consumer.write(8, Buffer.alloc(4 * BLOCK, 2));
    expect(cluster.record(volume.id).inSync).toEqual([first.deployment]);
    expect(a.attention).toContain('member-removed');
    await expect(c.host.remoteStatus(second, 2000)).rejects.toBeInstanceOf(PeerUnreachableError);

    const back = await cluster.start(b.id);
    expect(back.host.status(second.deployment)?.role).toBe('member');
    await eventually(() => a.host.isPeerUp(b.id), 'peers');
    const progress = await a.host.startSync(first.deployment, second.deployment, () => {}).done;
    expect(progress).toMatchObject({ kind: 'delta', blocksDone: 4 });
    expect(cluster.record(volume.id).inSync).toContain(second.deployment);

    await cluster.stop(a.id);
    const record = cluster.record(volume.id);
    const answers = new Map<DeploymentId, Answer>([
      [first.deployment, 'unreachable'],
      [second.deployment, await c.host.remoteStatus(second)],
    ]);
    const step = planFailover(record, volume.placements, answers);
    if (step.kind !== 'swap') throw new Error(`no candidate: ${JSON.stringify(step)}`);
    cluster.put(step.next);
    const read = await consumer.read(0, 16);
    expect(
      read.equals(Buffer.concat([Buffer.alloc(8 * BLOCK, 1), Buffer.alloc(4 * BLOCK, 2), Buffer.alloc(4 * BLOCK, 1)])),
    ).toBe(true);
    await consumer.write(0, Buffer.alloc(BLOCK, 3));
    expect(cluster.record(volume.id).inSync).toEqual([second.deployment]);
    await consumer.frontend.close();
  });
});

describe('the host', () => {
  it('opens again what is on its disks, makes nothing by itself, and removes what it is told to', async () => {
    const id = cluster.ids[0]!;
    const first = await cluster.start(id);
    const volume = makeVolume(place([first]));
    const deployment = volume.placements[0]!.deployment;
    const placed = async () => volume;
    cluster.tell(volume);
    expect(first.host.status(deployment)).toBeUndefined();
    const made = await first.host.createDeployment(volume.id, deployment, placed);
    expect(await first.host.createDeployment(volume.id, deployment, placed)).toEqual(made);
    const unknown = randomUUID() as string as DeploymentId;
    await expect(first.host.createDeployment(volume.id, unknown, placed)).rejects.toMatchObject({ code: 'invalid' });

    await cluster.stop(id);
    const second = await cluster.start(id);
    expect(second.host.status(deployment)?.incarnation).not.toBe(made.incarnation);
    expect(second.host.statuses()).toHaveLength(1);
    await second.host.removeDeployment(deployment);
    await second.host.removeDeployment(deployment);
    expect(second.host.status(deployment)).toBeUndefined();
    expect(second.stores.deployments()).toEqual([]);
    const making = second.host.createDeployment(volume.id, deployment, placed);
    await Promise.all([making, second.host.removeDeployment(deployment)]);
    expect(second.stores.deployments()).toEqual([]);
    // It is placed when its making is asked for, and not any more when the removal before that is over.
    let record = volume;
    const removal = second.host.removeDeployment(deployment);
    const late = second.host.createDeployment(volume.id, deployment, async () => record);
    record = { ...volume, placements: [] };
    await expect(late).rejects.toMatchObject({ code: 'invalid' });
    await removal;
    expect(second.stores.deployments()).toEqual([]);
    const target = { deployment, node: id };
    await expect(second.host.remoteStatus(target)).rejects.toMatchObject({ code: 'not-found' });
    await expect(second.host.startSync(deployment, deployment, () => {}).done).rejects.toThrow(/holds no deployment/);
  });

  it('tells other nodes that it holds no such deployment, and refuses malformed requests', async () => {
    const [a, b] = (await Promise.all(cluster.ids.slice(0, 2).map((id) => cluster.start(id)))) as [Running, Running];
    const target = { deployment: randomUUID() as string as DeploymentId, node: b.id };
    await expect(a.host.remoteStatus(target)).rejects.toMatchObject({ code: 'not-found' });
    await expect(a.host.remoteInventory(target, -1 as BlockNumber, 10)).rejects.toMatchObject({ code: 'invalid' });
    await expect(a.host.remoteInventory(target, 0 as BlockNumber, 1e9)).rejects.toMatchObject({ code: 'invalid' });
  });

  it('tells other nodes that a deployment of its own is damaged, and makes another when that one is removed', async () => {
    const [a, b] = (await Promise.all(cluster.ids.slice(0, 2).map((id) => cluster.start(id)))) as [Running, Running];
    const volume = await cluster.provision([a, b]);
    const placed = volume.placements[1]!;
    await writeBlock(a, volume);
    await cluster.stop(b.id);
    await damageLogs(b.id);

    const back = await cluster.start(b.id);
    await eventually(() => back.attention.includes('store-failed'), 'it could not be opened');
    await eventually(() => a.host.isPeerUp(b.id), 'peers');
    await expect(a.host.remoteStatus(placed)).rejects.toMatchObject({ code: 'invalid-state' });
    expect(back.host.unopened).toBe(1);
    await back.host.removeDeployment(placed.deployment);
    await expect(a.host.remoteStatus(placed)).rejects.toMatchObject({ code: 'not-found' });
    expect(back.host.unopened).toBe(0);
    await back.host.createDeployment(volume.id, placed.deployment, async () => volume);
    await expect(a.host.remoteStatus(placed)).resolves.toMatchObject({ role: 'member' });
  });

  it('says which copies in sync it should have open and has not: damaged, or not there', async () => {
    const id = cluster.ids[0]!;
    const node = await cluster.start(id);
    const volume = await cluster.provision([node]);
    const { deployment } = volume.placements[0]!;
    await writeBlock(node, volume);
    await cluster.stop(id);
    await damageLogs(id);

    const back = await cluster.start(id);
    await eventually(() => back.attention.includes('store-failed'), 'it could not be opened');
    expect(back.host.closed()).toEqual([deployment]);
    await back.host.removeDeployment(deployment);
    expect(back.host.closed()).toEqual([deployment]);
    await back.host.createDeployment(volume.id, deployment, async () => volume);
    expect(back.host.closed()).toEqual([]);
  });

  it('does not call a deployment damaged whose device is not mounted', async () => {
    const [a, b] = (await Promise.all(cluster.ids.slice(0, 2).map((id) => cluster.start(id)))) as [Running, Running];
    const placed = (await cluster.provision([a, b])).placements[1]!;
    await cluster.stop(b.id);
    const device = join(cluster.directory(b.id), 'data', 'dev1');
    await rename(device, `${device}-away`);

    const back = await cluster.start(b.id);
    await eventually(() => back.attention.includes('store-failed'), 'it could not be opened');
    await eventually(() => a.host.isPeerUp(b.id), 'peers');
    await expect(a.host.remoteStatus(placed)).rejects.toMatchObject({ code: 'not-found' });
    await cluster.stop(b.id);
    await rm(device, { recursive: true });
    await rename(`${device}-away`, device);
    await cluster.start(b.id);
    await eventually(() => a.host.isPeerUp(b.id), 'peers');
    await expect(a.host.remoteStatus(placed)).resolves.toMatchObject({ role: 'member' });
  });

  it('keeps copies of volumes that etcd has lost, tells of them, and opens them for who asks', async () => {
    const [a, b] = (await Promise.all(cluster.ids.slice(0, 2).map((id) => cluster.start(id)))) as [Running, Running];
    const volume = await cluster.provision([b]);
    const { deployment } = volume.placements[0]!;
    expect(await a.host.held(b.id)).toEqual([]);
    cluster.lose(volume.id);
    const promised = b.host.status(deployment)?.promised;
    const told = {
      volume: volume.id,
      deployments: [deployment],
      sizeBytes: volume.sizeBytes,
      name: volume.name,
      namespaceName: 'home',
    };
    expect(await a.host.held(b.id)).toEqual([{ ...told, promised }]);
    await cluster.stop(b.id);

    const back = await cluster.start(b.id);
    expect(back.host.status(deployment)).toBeUndefined();
    expect(await a.host.held(b.id)).toEqual([{ ...told, promised }]);
    const survey = await a.host.survey(b.id, volume.id);
    expect(survey).toMatchObject({
      copies: [{ node: b.id, status: { deployment, promised }, shape: { blockSize: BLOCK, blocks: 4096 } }],
      closed: [],
      remembered: { volume, namespaceName: 'home' },
    });
    // Nothing of it is left to be known.
    await back.host.removeDeployment(deployment);
    expect([await a.host.held(b.id), cluster.memories.get(b.id)?.size]).toEqual([[], 0]);
  });

  it('tries a damaged copy of a lost volume once for who asks, and calls nobody, until etcd knows the volume again', async () => {
    const [a, b] = (await Promise.all(cluster.ids.slice(0, 2).map((id) => cluster.start(id)))) as [Running, Running];
    const volume = await cluster.provision([b]);
    const { deployment } = volume.placements[0]!;
    await writeBlock(a, volume);
    cluster.lose(volume.id);
    await cluster.stop(b.id);
    await damageLogs(b.id);
    const back = await cluster.start(b.id);
    expect(await a.host.survey(b.id, volume.id)).toMatchObject({ copies: [], closed: [deployment] });
    expect([back.host.unopened, back.attention]).toEqual([0, []]);
    cluster.tell(volume);
    await eventually(() => back.attention.includes('store-failed'), 'it is tried again');
    expect(back.host.unopened).toBe(1);
  });

  it('forgets a volume whose copy was given up, whatever is heard of first', async () => {
    const nodes = (await Promise.all(cluster.ids.slice(0, 2).map((id) => cluster.start(id)))) as [Running, Running];
    const [a, b] = nodes;
    const volumes = [await cluster.provision([a, b]), await cluster.provision([a, b])];
    const memory = cluster.memories.get(b.id)!;
    const erase = (i: number) => b.host.removeDeployment(volumes[i]!.placements[1]!.deployment);
    const drop = (i: number) => cluster.tell({ ...volumes[i]!, placements: [volumes[i]!.placements[0]!] });
    expect(memory.size).toBe(2);
    await erase(0);
    drop(0);
    expect([...memory.keys()]).toEqual([volumes[1]!.id]);
    drop(1);
    expect(memory.size).toBe(1);
    await erase(1);
    expect(memory.size).toBe(0);
    expect(cluster.memories.get(a.id)!.size).toBe(2);
  });

  it('says that it has copies which it cannot read, and remembers what they may be of', async () => {
    const [a, b] = (await Promise.all(cluster.ids.slice(0, 2).map((id) => cluster.start(id)))) as [Running, Running];
    const volume = await cluster.provision([b]);
    await cluster.stop(b.id);
    const files = await readdir(cluster.directory(b.id), { recursive: true, withFileTypes: true });
    const superblocks = files.filter((file) => file.isFile() && file.name.startsWith('super.'));
    expect(superblocks.length).toBeGreaterThan(0);
    for (const { parentPath, name } of superblocks)
      await writeFile(join(parentPath, name), Buffer.alloc(64 << 10, 0xa5));
    await cluster.start(b.id);
    expect(await a.host.survey(b.id, volume.id)).toMatchObject({ copies: [], closed: [], unreadable: 1 });
    cluster.lose(volume.id);
    expect(cluster.memories.get(b.id)!.size).toBe(1);
  });

  it('opens a store that has failed anew', async () => {
    const node = await cluster.start(cluster.ids[0]!);
    const volume = await cluster.provision([node]);
    const { deployment } = volume.placements[0]!;
    const before = node.host.get(deployment)!;
    before.replicated.fail(new Error('the disk broke'));
    await eventually(() => (node.host.get(deployment) ?? before) !== before, 'opened anew');
    expect(node.attention).toContain('store-failed');
    expect(node.host.status(deployment)?.incarnation).not.toBe(before.store.incarnation);
  });

  it('answers frontends that come to the wrong node', async () => {
    const [a, b] = (await Promise.all(cluster.ids.slice(0, 2).map((id) => cluster.start(id)))) as [Running, Running];
    const volume = await cluster.provision([a]);
    const got: unknown[] = [];
    for (const node of [a, b]) {
      const target = { volume: volume.id, deployment: randomUUID() as string as DeploymentId, node: b.id };
      const channel = node.host.connector.connect(target, {
        message: (message) => got.push(message),
        closed: () => {},
      });
      channel.send({ type: 'open', session: 1 as SessionNumber, generation: 1 as Generation });
    }
    await eventually(() => got.length === 2, 'both answered');
    expect(got).toEqual(Array(2).fill({ type: 'rejected', session: 1, reason: 'not-primary', primary: a.id }));
  });
});
