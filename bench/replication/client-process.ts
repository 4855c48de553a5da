/** Starts and ends the process of io-client.ts. */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { connect, type Remote } from '../data-path/rpc.js';
import type { IoClient, IoLoad } from './io-client.js';

const PROGRAM = fileURLToPath(new URL('./io-client.js', import.meta.url));

export interface RunningClient {
  readonly remote: Remote<IoClient>;
  end(): Promise<void>;
}

export async function startClient(load: IoLoad): Promise<RunningClient> {
  const child = fork(PROGRAM, [], { serialization: 'advanced' });
  const remote = connect<IoClient>(child, {});
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    await remote.stop().catch(() => child.kill('SIGKILL'));
    await ended;
  };
  try {
    await remote.start(load);
    return { remote, end };
  } catch (error) {
    await end();
    throw error;
  }
}
