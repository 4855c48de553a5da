import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { deferred } from '../../../core/deferred.js';
import type { Tombstone } from '../../../core/domain.js';
import type { DeploymentId, NodeId, VolumeId } from '../../../core/types.js';
import { Erasure } from '../../../node-agent/erasure.js';
import { clusterOf, establishIdentity } from '../../../node-agent/identity.js';
import { createLogger } from '../../../node-agent/log.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'identity-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const node = () => ({ nodeId: randomUUID() as NodeId, nodeName: 'node-1', clusterId: randomUUID() });

describe('identity of a data directory', () => {
  it('is written once and found again', async () => {
    const identity = node();
    expect(clusterOf(directory)).toBeUndefined();
    expect(await establishIdentity(directory, identity)).toEqual(identity);
    expect(await establishIdentity(directory, identity)).toEqual(identity);
    expect(clusterOf(directory)).toBe(identity.clusterId);
  });

  it('refuses another cluster and another node', async () => {
    const identity = node();
    await establishIdentity(directory, identity);
    const elsewhere = { ...identity, clusterId: randomUUID() };
    await expect(establishIdentity(directory, elsewhere)).rejects.toMatchObject({
      code: 'invalid-state',
      // What is below has data, whoever has made the other cluster.
      message: expect.stringMatching(new RegExp(`cluster ${identity.clusterId}.*keep this directory`)),
    });
    const somebody = { ...identity, nodeId: randomUUID() as NodeId };
    await expect(establishIdentity(directory, somebody)).rejects.toMatchObject({
      code: 'invalid-state',
      message: expect.stringContaining(identity.nodeId),
    });
  });

  it('refuses a damaged file instead of writing a new one', async () => {
    writeFileSync(join(directory, 'config.json'), '{"nodeId": "x"}');
    await expect(establishIdentity(directory, node())).rejects.toMatchObject({ code: 'internal' });
  });
});

describe('erasure', () => {
  const self = randomUUID() as NodeId;
  const tombstone = (of: NodeId): Tombstone => ({
    deployment: randomUUID() as DeploymentId,
    volume: randomUUID() as VolumeId,
    node: of,
    deletedAt: new Date().toISOString(),
  });
  function erasure(holds: () => boolean, remove = vi.fn(async () => {}), stands = () => true) {
    const bury = vi.fn(async () => {});
    const logger = createLogger({ level: 'silent', node: 'test' });
    const again: { afterMs: number; run: () => void }[] = [];
    const clock = {
      after: (afterMs: number, run: () => void) => {
        again.push({ afterMs, run });
        return { cancel: () => {} };
      },
    };
    return { remove, bury, again, it: new Erasure({ self, clock, logger, holds, remove, stands, bury }) };
  }

  it('removes what a tombstone of this node names, then the tombstone', async () => {
    const { remove, bury, it: subject } = erasure(() => true);
    const mine = tombstone(self);
    subject.onTombstone(mine);
    await vi.waitFor(() => expect(bury).toHaveBeenCalledWith(mine.deployment));
    expect(remove).toHaveBeenCalledWith(mine.deployment);
  });

  it('asks for the removal of what is not there: it may be being made', async () => {
    const { remove, bury, it: subject } = erasure(() => false);
    const making = deferred();
    remove.mockReturnValueOnce(making.promise);
    const mine = tombstone(self);
    subject.onTombstone(mine);
    expect(remove).toHaveBeenCalledWith(mine.deployment);
    expect(bury).not.toHaveBeenCalled();
    making.resolve();
    await vi.waitFor(() => expect(bury).toHaveBeenCalledWith(mine.deployment));
  });

  it('leaves alone what belongs to another node', () => {
    const { remove, bury, it: subject } = erasure(() => true);
    subject.onTombstone(tombstone(randomUUID() as NodeId));
    expect(remove).not.toHaveBeenCalled();
    expect(bury).not.toHaveBeenCalled();
  });

  it('keeps the tombstone while the data could not be erased, and tries again after longer and longer pauses', async () => {
    let broken = true;
    let held = true;
    const remove = vi.fn(async () => {
      if (broken) throw new Error('disk');
      held = false;
    });
    const { bury, again, it: subject } = erasure(() => held, remove);
    const mine = tombstone(self);
    subject.onTombstone(mine);
    for (let failures = 1; failures <= 8; failures++) {
      await vi.waitFor(() => expect(again).toHaveLength(failures));
      // The watch may tell of it again meanwhile.
      subject.onTombstone(mine);
      expect(remove).toHaveBeenCalledTimes(failures);
      expect(bury).not.toHaveBeenCalled();
      if (failures === 8) broken = false;
      again.at(-1)!.run();
    }
    await vi.waitFor(() => expect(bury).toHaveBeenCalledWith(mine.deployment));
    expect(remove).toHaveBeenCalledTimes(9);
    expect(again.map(({ afterMs }) => afterMs / 1000)).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
  });

  it('gives up when the tombstone has gone', async () => {
    const remove = vi.fn(async () => {
      throw new Error('disk');
    });
    const {
      bury,
      again,
      it: subject,
    } = erasure(
      () => true,
      remove,
      () => false,
    );
    subject.onTombstone(tombstone(self));
    await vi.waitFor(() => expect(again).toHaveLength(1));
    again[0]!.run();
    expect(remove).toHaveBeenCalledTimes(1);
    expect(bury).not.toHaveBeenCalled();
  });
});
