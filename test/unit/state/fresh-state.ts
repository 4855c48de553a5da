/** A state of the cluster for each test, over an etcd that the tests of a file share. */

import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { systemClock } from '../../../node-agent/clock.js';
import { ClusterState } from '../../../node-agent/state/cluster-state.js';
import { TestEtcd } from '../../setup/etcd.js';

export interface FreshState {
  readonly etcd: TestEtcd;
  /** Of this test alone. */
  readonly namespace: string;
  readonly state: ClusterState;
}

/** `use` is told of it before each test. */
export function freshState(use: (fresh: FreshState) => void): void {
  let etcd: TestEtcd | undefined;
  let state: ClusterState | undefined;
  beforeAll(async () => {
    etcd = await TestEtcd.start();
  });
  beforeEach(async () => {
    const namespace = `test/${randomUUID()}`;
    const options = { namespace, clock: systemClock, onTrouble: () => {} };
    state = await ClusterState.connect({ endpoints: [etcd!.endpoint], ...options });
    use({ etcd: etcd!, namespace, state });
  });
  afterEach(() => state?.close());
  afterAll(() => etcd?.destroy());
}

/** 'done', or the code of its error. */
export const outcomeOf = (made: Promise<unknown>): Promise<string> =>
  made.then(
    () => 'done',
    (error) => error.code,
  );
