/** A deployment that a newer program has written, whatever older copies of its superblock say. */

import { crc32, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import type { DeploymentId, VolumeId } from '../../../core/types.js';
import { inspect } from '../../../node-agent/store/inspection.js';
import type { Owner } from '../../../node-agent/store/superblock.js';
import { SimDisk } from '../../sim/sim-disk.js';
import {
  DEPLOYMENT,
  data,
  instantClock,
  newDeployment,
  openStores,
  seeded,
  testChecksums,
  VOLUME,
  writeTo,
} from './support.js';

const DIRECTORY = 'data/db1/1';
const HEADER_BYTES = 24;

/** What a newer program would write in the place of this copy: another format. */
function renew(sim: SimDisk, copy: number, bodyOf: (owner: Owner) => Buffer): void {
  const path = `${DIRECTORY}/super.${copy}`;
  const old = Buffer.from(sim.contents(path));
  const { volume, deployment } = JSON.parse(old.toString('utf8', HEADER_BYTES, HEADER_BYTES + old.readUInt32LE(12)));
  const body = bodyOf({ volume, deployment });
  const bytes = Buffer.concat([old.subarray(0, HEADER_BYTES), body]);
  bytes.writeUInt16LE(3, 8);
  bytes.writeUInt32LE(body.length, 12);
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4);
  const file = sim.mount().open(path, { create: false });
  file.truncate(0);
  file.write([bytes], 0);
}

/** JSON that this program does not understand, but for the owner. */
function json(owner: Owner): Buffer {
  return Buffer.from(JSON.stringify({ ...owner, promised: { number: 7 } }));
}

function compressed(owner: Owner): Buffer {
  return gzipSync(json(owner));
}

/** More than this program reads of a copy. */
function long(owner: Owner): Buffer {
  return Buffer.concat([json(owner), Buffer.alloc(5 * 1024 * 1024, ' ')]);
}

test.each([
  ['JSON', [0], json],
  ['JSON', [2], json],
  ['JSON', [0, 1, 2], json],
  ['compressed', [1], compressed],
  ['long', [1], long],
] as const)('is left as it is, with %s in copies %j of the newer format', async (_, copies, bodyOf) => {
  const sim = new SimDisk({ random: seeded(1) });
  const before = await openStores(sim.mount());
  writeTo(await before.create(newDeployment), data(1, 1));
  await before.close();
  for (const copy of copies) renew(sim, copy, bodyOf);
  const files = () => sim.files().map((path) => [path, Buffer.from(sim.contents(path)).toString('base64')]);
  const found = files();

  const stores = await openStores(sim.mount());
  const damages = copies.map((copy) => ({
    path: `${DIRECTORY}/super.${copy}`,
    what: 'superblock of format 3, this program knows 2',
    unread: true,
  }));
  expect(stores.damages).toMatchObject(damages);
  // Not damaged: who believes that would replace it.
  const refused = expect.objectContaining({ name: 'StoreCorruptError', deployment: DEPLOYMENT, unread: true });
  await expect(stores.open(DEPLOYMENT)).rejects.toEqual(refused);
  await expect(stores.create(newDeployment)).rejects.toEqual(refused);
  await expect(stores.remove(DEPLOYMENT)).rejects.toEqual(refused);
  expect([stores.holds(DEPLOYMENT), stores.of(VOLUME)]).toEqual([true, [DEPLOYMENT]]);

  const volume = '44444444-4444-4444-8444-444444444444' as VolumeId;
  const deployment = '55555555-5555-4555-8555-555555555555' as DeploymentId;
  await (await stores.create({ ...newDeployment, volume, deployment })).close();
  await stores.remove(deployment);
  await stores.close();
  expect(files()).toEqual(found);

  const reports = inspect(
    { disk: sim.mount(), clock: instantClock, random: seeded(1), bootId: 'boot-1', checksums: testChecksums },
    true,
    new Set([DEPLOYMENT]),
  );
  for await (const report of reports) {
    expect(report).toMatchObject({ directory: DIRECTORY, damages: damages.map(({ path, what }) => ({ path, what })) });
    expect(report.contents).toBeUndefined();
  }
  expect(files()).toEqual(found);
});

test.each([
  ['compressed', compressed],
  ['long', long],
])('is no reason not to start when %s bodies do not even say whose it is', async (_, bodyOf) => {
  const sim = new SimDisk({ random: seeded(1) });
  const before = await openStores(sim.mount());
  writeTo(await before.create(newDeployment), data(1, 1));
  await before.close();
  for (const copy of [0, 1, 2]) renew(sim, copy, bodyOf);
  const files = () => sim.files().map((path) => [path, Buffer.from(sim.contents(path)).toString('base64')]);
  const found = files();

  const stores = await openStores(sim.mount());
  expect(stores.damages.map(({ path, what, unread }) => [path, what, unread])).toEqual(
    [0, 1, 2].map((copy) => [`${DIRECTORY}/super.${copy}`, 'superblock of format 3, this program knows 2', true]),
  );
  const deployment = '55555555-5555-4555-8555-555555555555' as DeploymentId;
  await (await stores.create({ ...newDeployment, deployment })).close();
  await stores.remove(deployment);
  await stores.close();
  expect(files()).toEqual(found);
});
