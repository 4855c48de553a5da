import { randomUUID } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import type { Attachment } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import type { Generation, NodeId, VolumeId } from '../../../core/types.js';
import { type Devices, NodeAttachments } from '../../../node-agent/attachments.js';
import type { FrontendHost } from '../../../node-agent/frontend/host.js';
import type { KeyStore } from '../../../node-agent/keys/index.js';
import { createLogger } from '../../../node-agent/log.js';
import { testVolume } from '../frontend/attached-volume.js';
import { FakeClock } from '../frontend/fakes.js';

const noDevices: Omit<Devices, 'unsupported'> = {
  present: async () => '',
  withdraw: async () => {},
  sync: async () => {},
  stop: () => [],
};
const attachmentsOf = (options: { frontends: object; devices?: Partial<Devices>; clock?: FakeClock; self?: NodeId }) =>
  new NodeAttachments({
    self: options.self ?? (randomUUID() as NodeId),
    frontends: options.frontends as FrontendHost,
    devices: { ...noDevices, unsupported: undefined, ...options.devices },
    keys: {} as KeyStore,
    clock: options.clock ?? new FakeClock(),
    logger: createLogger({ level: 'silent', node: 'test' }),
  });
const inUse = async (): Promise<void> => {
  throw new DomainError('in-use', 'mounted');
};

describe('what etcd says of an attachment', () => {
  const self = randomUUID() as NodeId;
  const other = randomUUID() as NodeId;
  const volume = randomUUID() as VolumeId;
  const says = (generation: number, node?: NodeId): Attachment => ({
    ...{ volume, generation: generation as Generation, mode: 'rw', updatedAt: '' },
    ...(node !== undefined && { node }),
  });

  /** Whether this node, which shows generation 5, has closed it. */
  async function closes(attachment: Attachment | undefined): Promise<boolean> {
    const detach = vi.fn(async () => {});
    const frontends = { get: () => ({ volume, generation: 5 as Generation }), detach };
    const attachments = attachmentsOf({ self, frontends });
    attachments.onAttachment(volume, attachment);
    await new Promise(setImmediate);
    return detach.mock.calls.length > 0;
  }

  it.each([
    ['its own', says(5, self), false],
    ['an older one, as an etcd that was set back has', says(4, other), false],
    ['a newer one elsewhere', says(6, other), true],
    ['none any more', says(6), true],
    ['no such volume', undefined, true],
    ['the same generation elsewhere', says(5, other), true],
  ])('%s', async (_, attachment, closed) => {
    expect(await closes(attachment)).toBe(closed);
  });
});

it('at the end, a device that is being made is told first that its volume is gone: it may wait for that', async () => {
  const self = randomUUID() as NodeId;
  const id = randomUUID() as VolumeId;
  const order: string[] = [];
  let fail: (error: Error) => void = () => {};
  const made = new Promise<string>((_, reject) => {
    fail = reject;
  });
  const frontends = {
    attach: async () => ({ nbdUri: '', socketPath: '' }),
    list: () => [{ volume: id }],
    detach: async () => {
      order.push('detach');
      fail(new Error('nobody answers'));
    },
    close: async () => void order.push('close'),
  };
  const devices: Partial<Devices> = {
    present: () => made,
    stop: () => [id],
    withdraw: async () => {
      await made.catch(() => undefined);
      order.push('withdraw');
    },
  };
  const attachments = attachmentsOf({ self, frontends, devices });
  const attachment: Attachment = { volume: id, node: self, generation: 1 as Generation, mode: 'rw', updatedAt: '' };
  const opened = attachments.open(testVolume({ id }), attachment);
  const failed = expect(opened).rejects.toThrow('nobody answers');
  await new Promise(setImmediate);
  await attachments.closeAll();
  await failed;
  expect(order).toEqual(['detach', 'withdraw', 'close']);
});

it('at the end, what was written to a device in use is on its volume before that is closed', async () => {
  const order: string[] = [];
  const frontends = {
    list: () => [{ volume: randomUUID() as VolumeId }],
    close: async () => void order.push('close'),
  };
  const sync = async () => void order.push('sync');
  await attachmentsOf({ frontends, devices: { withdraw: inUse, sync } }).closeAll();
  expect(order).toEqual(['sync', 'close']);
});

it('a device that is mounted though its volume is elsewhere is tried again, not more often with each move', async () => {
  const clock = new FakeClock();
  const id = randomUUID() as VolumeId;
  let mounted = true;
  const withdraw = vi.fn(() => (mounted ? inUse() : Promise.resolve()));
  const detach = vi.fn(async () => {});
  const frontends = { get: () => ({ volume: id, generation: 5 as Generation }), detach };
  const attachments = attachmentsOf({ frontends, devices: { withdraw }, clock });
  for (const generation of [6, 7, 8] as Generation[]) {
    attachments.onAttachment(id, { volume: id, generation, mode: 'rw', updatedAt: '' });
    await clock.advance(0);
  }
  expect(withdraw).toHaveBeenCalledTimes(1);
  await clock.advance(5_000);
  expect(withdraw).toHaveBeenCalledTimes(2);
  mounted = false;
  await clock.advance(5_000);
  expect([withdraw.mock.calls.length, detach.mock.calls.length, clock.timers]).toEqual([3, 1, 0]);
});
